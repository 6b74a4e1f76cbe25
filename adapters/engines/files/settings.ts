import { z } from 'zod';

const root = z.string().regex(/^\/.*[^/]$/, 'must be an absolute path without a slash at its end');

const site = z.strictObject({
  roots: z
    .array(root)
    .min(1)
    .meta({ description: 'Directories to back up; one that does not exist is reported and skipped' }),
});

const mirror = z.strictObject({
  from: root,
  to: z.strictObject({
    repository: z.string().min(1).meta({ description: 'A repository of kind s3: its bucket and credentials are used' }),
    // Required: a mirror owns, and so deletes, everything below it.
    prefix: z
      .string()
      .regex(/^[A-Za-z0-9._-]+(\/[A-Za-z0-9._-]+)*\/?$/, 'must be names joined by "/", such as assets/')
      .meta({ description: 'Below the prefix of the repository; nothing else may be kept there' }),
  }),
  maxDeleteShare: z.number().min(0).max(1).default(0.5).meta({
    description: 'A sync that would delete more than this share of the objects deletes nothing and fails',
  }),
});

/** The part of a store of file trees in the config. */
export const settings = z.strictObject({
  sites: z.record(z.string(), site),
  excludes: z.array(z.string().min(1)).default([]).meta({
    description: "Patterns as GNU tar's --exclude, matched from the root's own name on: */node_modules/*, */logs/*",
  }),
  oneFileSystem: z.boolean().default(true).meta({ description: 'Do not descend into other file systems' }),
  maximumIncrements: z.int().min(0).max(1_000).default(30).meta({
    description: 'So many incrementals build on each other; the next one is a full',
  }),
  devices: z.boolean().default(false).meta({ description: 'Back up and restore device nodes (root only)' }),
  artifactKind: z.enum(['files', 'config']).default('files'),
  mirrors: z
    .array(mirror)
    .default([])
    .meta({ description: 'Directories whose exact copy is kept in S3, deletions included' }),
});

export type FilesSettings = z.output<typeof settings>;
