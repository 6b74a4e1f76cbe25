import { z } from 'zod';
import { secretField } from '../../settings-fields';

const port = z.int().min(1).max(65_535).default(6379);

const site = z.strictObject({
  host: z.string().min(1),
  port,
  user: z.string().optional().meta({ description: 'ACL user; without it the default user' }),
  password: secretField.optional(),
  tls: z
    .strictObject({
      caFile: z.string().optional().meta({ description: "PEM of the authority; without it the system's" }),
      serverName: z.string().optional(),
    })
    .optional(),
  replicas: z
    .array(z.strictObject({ host: z.string().min(1), port }))
    .default([])
    .meta({ description: 'Replicas at the same site, same user and password; backups read from one of them' }),
  aofDirectory: z.string().startsWith('/').optional().meta({
    description: "The server's append-only directory as the worker sees it; it is copied into the backup too",
  }),
});

/** Redis' part of a store in the config. */
export const settings = z.strictObject({
  sites: z.record(z.string(), site),
  toolsDirectory: z.string().optional().meta({
    description: 'Folder of redis-server (or valkey-server) for restores; without it the PATH',
  }),
  restorePassword: secretField.optional().meta({
    description: "Password of a restored server's default user; without it that of the first site that has one",
  }),
});

export type RedisSettings = z.output<typeof settings>;
export type RedisSite = z.output<typeof site>;
