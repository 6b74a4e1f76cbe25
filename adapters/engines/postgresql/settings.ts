import { z } from 'zod';
import { Secret } from '../../../core/secret';

const secret = z.custom<Secret>((value) => value instanceof Secret, 'must be a reference to a secret');

const tls = z
  .strictObject({
    /** False only for servers whose certificate nobody signed: the connection is then encrypted, not authenticated. */
    rejectUnauthorized: z.boolean().default(true),
    caFile: z
      .string()
      .optional()
      .meta({ description: "PEM file with the authority that signed the server's certificate" }),
    certFile: z.string().optional().meta({ description: 'PEM file with the client certificate' }),
    keyFile: z.string().optional().meta({ description: 'PEM file with the key of the client certificate' }),
  })
  .meta({ description: 'Encrypt the connection; without this block it is plain' });

const site = z.strictObject({
  host: z.string().min(1),
  port: z.int().min(1).max(65535).default(5432),
  user: z.string().min(1).default('postgres').meta({
    description: 'A superuser, or a member of pg_monitor and pg_read_all_data that owns the schema drctl',
  }),
  password: secret.optional(),
  replicationUser: z.string().min(1).optional().meta({ description: 'Role with REPLICATION; `user` where left out' }),
  replicationPassword: secret.optional(),
  database: z.string().min(1).default('postgres').meta({ description: 'Holds the schema drctl (heartbeat, epoch)' }),
  applicationDatabase: z.string().min(1).optional().meta({ description: 'Named in the commands that are shown' }),
  standbys: z
    .array(z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(65535).default(5432) }))
    .default([])
    .meta({
      description:
        'Further servers at this site that follow it: candidates of a promotion, and backups can be read from them',
    }),
  tls: tls.optional(),
  catchUp: z
    .strictObject({
      host: z.string().min(1).optional().meta({
        description: "The worker's address as the standby reaches it; the one that leads to the standby where left out",
      }),
      port: z.int().min(1).max(65535).optional().meta({ description: 'Any free one where left out' }),
      certFile: z.string().optional().meta({ description: 'PEM file; wanted where the site has `tls`' }),
      keyFile: z.string().optional().meta({ description: 'PEM file with the key of the certificate' }),
    })
    .optional()
    .meta({ description: "Where this site's worker offers archived log to the standby before a promotion" }),
});

const check = z.strictObject({
  name: z
    .string()
    .min(1)
    .max(100)
    .meta({ description: 'What it says about the data, such as "every order has a customer"' }),
  sql: z.string().min(1).meta({ description: 'One statement that answers one value; run in a read-only transaction' }),
  expect: z
    .union([
      z.boolean(),
      z.number(),
      z.string(),
      z
        .strictObject({ atLeast: z.number().optional(), atMost: z.number().optional() })
        .refine((range) => range.atLeast !== undefined || range.atMost !== undefined, 'needs atLeast, atMost or both'),
    ])
    .default(true)
    .meta({ description: 'The value that holds: `true` where it is left out, another value, or a range of numbers' }),
  database: z.string().min(1).optional().meta({ description: "The site's `database` where it is left out" }),
  timeoutSeconds: z
    .int()
    .min(1)
    .max(3_600)
    .default(30)
    .meta({ description: 'Without an answer by then it has failed' }),
});

/** PostgreSQL's part of a store in the config. */
export const settings = z.strictObject({
  sites: z.record(z.string(), site),
  toolsDirectory: z.string().optional().meta({
    description: "Folder with the server's own programs (postgres, pg_combinebackup) for restores; found when left out",
  }),
  checkpoint: z.enum(['fast', 'spread']).default('fast').meta({
    description: 'Whether a backup begins with an immediate checkpoint, or waits for the next regular one',
  }),
  backupFrom: z.enum(['primary', 'standby', 'prefer-standby']).default('primary').meta({
    description:
      'Where backups are read: `standby` fails where none can be read, `prefer-standby` then takes the primary',
  }),
  maximumIncrements: z.int().min(0).max(1_000).default(14).meta({
    description: 'After so many incremental backups in a row the next one is a full: a restore reads the whole chain',
  }),
  checks: z
    .array(check)
    .refine((all) => new Set(all.map(({ name }) => name)).size === all.length, 'two checks have the same name')
    .optional()
    .meta({ description: 'What must hold in every restored copy, in restores and drills' }),
  fenceByAccessRules: z.boolean().default(false).meta({
    description:
      'Fence an old primary by its pg_hba.conf too, which proves it: `user` must be an account that only drctl uses',
  }),
  maxRateKilobytesPerSecond: z.int().min(32).max(1_048_576).optional().meta({
    description: 'Throttles a base backup at the server',
  }),
});

export type PostgresqlSite = z.output<typeof site>;
export type PostgresqlSettings = Omit<z.output<typeof settings>, 'sites' | 'toolsDirectory'>;
export type PostgresqlCheck = z.output<typeof check>;
