import { z } from 'zod';
import { awsAccessFields } from '../aws/settings';

const route53Settings = z.strictObject({
  kind: z.literal('route53'),
  /** `Z123456789`, with or without the `/hostedzone/` that the API puts before it. */
  zoneId: z.string().min(1),
  ...awsAccessFields,
});

/** The control plane of the DNS zone that holds the public names. */
export const settings = z.discriminatedUnion('kind', [route53Settings]);

export type Route53Settings = z.output<typeof route53Settings>;
export type ZoneSettings = z.output<typeof settings>;
