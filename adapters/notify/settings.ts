import { z } from 'zod';
import { SEVERITIES } from '../../core/notify';
import { awsAccessFields } from '../aws/settings';
import { secretField, timeoutSecondsField } from '../settings-fields';

/** News of less are not for the channel. */
const leastSeverity = z
  .enum(SEVERITIES)
  .default('info')
  .meta({ description: 'News that are less severe are not sent there' });

const snsSettings = z.strictObject({
  kind: z.literal('sns'),
  leastSeverity,
  topicArn: z.string().regex(/^arn:[a-z-]+:sns:[a-z0-9-]+:[^:]+:.+$/, 'must be the ARN of an SNS topic'),
  /** What the subject of a backup alert starts with; `<application> Backup Alert` when absent. */
  subjectPrefix: z.string().min(1).max(60).optional(),
  ...awsAccessFields,
});

const slackSettings = z.strictObject({
  kind: z.literal('slack'),
  leastSeverity,
  /** The address of an incoming webhook; who knows it may post, so it is a secret. */
  webhook: secretField,
  timeoutSeconds: timeoutSecondsField(10),
});

const webhookSettings = z.strictObject({
  kind: z.literal('webhook'),
  leastSeverity,
  url: z.url({ protocol: /^https?$/ }),
  /** Signs every request as https://www.standardwebhooks.com says; plain text, or `whsec_` and base64. */
  signingKey: secretField.optional(),
  /** Sent as `Authorization: Bearer …`. */
  token: secretField.optional(),
  timeoutSeconds: timeoutSecondsField(10),
});

const smtpSettings = z
  .strictObject({
    kind: z.literal('smtp'),
    leastSeverity,
    host: z.string().min(1),
    port: z.int().min(1).max(65_535).default(587),
    /** `starttls` refuses to go on without encryption; `tls` is encrypted from the first byte (port 465). */
    security: z.enum(['starttls', 'tls', 'none']).default('starttls'),
    user: z.string().min(1).optional(),
    password: secretField.optional(),
    from: z.string().min(3),
    to: z.array(z.string().min(3)).min(1),
    timeoutSeconds: timeoutSecondsField(30),
  })
  .refine((smtp) => (smtp.user === undefined) === (smtp.password === undefined), {
    error: 'user and password are given together or not at all',
    path: ['password'],
  })
  .refine((smtp) => smtp.security !== 'none' || smtp.password === undefined, {
    error: 'a password is not sent over an unencrypted connection: use starttls or tls',
    path: ['security'],
  });

/** A way to tell people. */
export const settings = z.discriminatedUnion('kind', [snsSettings, slackSettings, webhookSettings, smtpSettings]);

export type SnsSettings = z.output<typeof snsSettings>;
export type SlackSettings = z.output<typeof slackSettings>;
export type WebhookSettings = z.output<typeof webhookSettings>;
export type SmtpSettings = z.output<typeof smtpSettings>;
export type NotifierSettings = z.output<typeof settings>;
