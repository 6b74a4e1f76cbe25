import * as z from 'zod';
import { Secret } from '../../core/secret';
import { STORAGE_CLASSES } from '../../core/storage-classes';

/** The config loader replaces `{env: …}` and `{file: …}` by Secrets before it parses. */
const secret = z.custom<Secret>((value) => value instanceof Secret, {
  error: 'must name a secret: {env: NAME} or {file: /path}, never the value itself',
});

const prefix = z
  .string()
  .regex(/^$|^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*$/, 'must be empty or names joined by "/", without "/" at the ends')
  .refine((text) => !text.split('/').some((part) => part === '.' || part === '..'), 'must not hold "." or ".." parts')
  .default('');

const localRepositorySettings = z.strictObject({
  kind: z.literal('local'),
  directory: z.string().startsWith('/', 'must be an absolute path'),
  prefix,
});

const s3RepositorySettings = z.strictObject({
  kind: z.literal('s3'),
  bucket: z.string().regex(/^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, 'must be the name of a bucket'),
  region: z.string().min(1).default('us-east-1'),
  /** Only for S3 that is not Amazon's. */
  endpoint: z.url({ protocol: /^https?$/, error: 'must be an http or https URL' }).optional(),
  /** `http://host/bucket/key` instead of `http://bucket.host/key`; what most S3 servers at an endpoint of their own need. */
  forcePathStyle: z.boolean().optional(),
  prefix,
  /** Without them the AWS SDK's default chain is used: environment, profile, web identity, instance. */
  credentials: z
    .strictObject({ accessKeyId: secret, secretAccessKey: secret, sessionToken: secret.optional() })
    .optional(),
  /** For artifacts; manifests, logs and other small objects always stay in STANDARD, where they can be read at once. */
  storageClass: z.enum(STORAGE_CLASSES).default('STANDARD'),
});

export const repositorySettings = z.discriminatedUnion('kind', [localRepositorySettings, s3RepositorySettings]);

export type RepositorySettings = z.output<typeof repositorySettings>;
export type S3RepositorySettings = z.output<typeof s3RepositorySettings>;
