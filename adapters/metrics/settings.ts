import { z } from 'zod';
import { awsAccessFields } from '../aws/settings';

export const cloudwatchSettings = z.strictObject({
  /** `UltraMarket/Backup`; names that begin with `AWS/` belong to AWS. */
  namespace: z.string().regex(/^(?!AWS\/)[A-Za-z0-9._/#:-]{1,255}$/, 'must be a CloudWatch namespace outside AWS/'),
  ...awsAccessFields,
});

/** Where metrics are pushed to, besides what Prometheus scrapes. */
export const settings = z.strictObject({ cloudwatch: cloudwatchSettings });

export type CloudwatchSettings = z.output<typeof cloudwatchSettings>;
export type MetricsSettings = z.output<typeof settings>;
