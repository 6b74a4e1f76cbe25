import type { MetricPublisher } from '../../core/metrics';
import { createCloudwatchPublisher } from './cloudwatch';
import type { MetricsSettings } from './settings';

/** Connects to nothing yet: the first call does. */
export function createMetricPublishers({ cloudwatch }: MetricsSettings): MetricPublisher[] {
  return cloudwatch ? [createCloudwatchPublisher(cloudwatch)] : [];
}
