import { z } from 'zod';
import { awsAccessFields } from '../aws/settings';

export const cloudwatchSettings = z.strictObject({
  /** `UltraMarket/Backup`; names that begin with `AWS/` belong to AWS. */
  namespace: z.string().regex(/^(?!AWS\/)[A-Za-z0-9._/#:-]{1,255}$/, 'must be a CloudWatch namespace outside AWS/'),
  ...awsAccessFields,
});

const listen = z.string().regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, {
  error: 'is not an address: write host:port, such as 127.0.0.1:9464',
});

export const prometheusSettings = z.strictObject({
  /** One for every worker, or one a site where the workers of several share a machine. */
  listen: z
    .union([listen, z.record(z.string(), listen)])
    .default('127.0.0.1:9464')
    .meta({ description: 'Where each worker answers Prometheus: host:port, or a map of sites to such' }),
  /** How often the figures are collected, in the background; a scrape never waits for it. */
  intervalSeconds: z.int().min(5).max(3_600).default(60),
});

/** Where metrics are pushed to and where they are scraped. */
export const settings = z.strictObject({
  cloudwatch: cloudwatchSettings.optional(),
  prometheus: prometheusSettings.optional(),
});

export type CloudwatchSettings = z.output<typeof cloudwatchSettings>;
export type PrometheusSettings = z.output<typeof prometheusSettings>;
export type MetricsSettings = z.output<typeof settings>;
