import { CloudWatchClient, PutMetricDataCommand } from '@aws-sdk/client-cloudwatch';
import { failure } from '../../core/errors';
import type { MetricPublisher } from '../../core/metrics';
import { AwsProblem, callAws } from '../aws/aws-errors';
import { awsClientOptions } from '../aws/client-options';
import type { CloudwatchSettings } from './settings';

/** A request takes 1,000 metrics of at most 1 MB together (API reference of PutMetricData); half is always small enough. */
const MAX_SAMPLES_PER_REQUEST = 500;

export function createCloudwatchPublisher(settings: CloudwatchSettings): MetricPublisher {
  const client = new CloudWatchClient(awsClientOptions(settings, 'metrics.cloudwatch'));
  return {
    kind: 'cloudwatch',
    async publish(samples, ctx) {
      for (let from = 0; from < samples.length; from += MAX_SAMPLES_PER_REQUEST) {
        const MetricData = samples.slice(from, from + MAX_SAMPLES_PER_REQUEST).map((sample) => ({
          MetricName: sample.name,
          Value: sample.value,
          Unit: sample.unit,
          Timestamp: new Date(sample.at),
          Dimensions: Object.entries(sample.dimensions).map(([Name, Value]) => ({ Name, Value })),
        }));
        const command = new PutMetricDataCommand({ Namespace: settings.namespace, MetricData });
        try {
          await callAws(settings, ctx.signal, (options) => client.send(command, options));
        } catch (cause) {
          if (!(cause instanceof AwsProblem)) throw cause;
          throw failure(
            'NotificationFailed',
            `publishing metrics to CloudWatch ${settings.namespace}: ${cause.message}`,
            {
              next: 'Check `metrics.cloudwatch` in the config; nothing waits for it.',
              cause,
            },
          );
        }
      }
    },
  };
}
