import { z } from 'zod';
import { secretField } from '../../settings-fields';

const member = z
  .string()
  .regex(/^[A-Za-z0-9._-]+:\d{1,5}$/, 'must be host:port, as the member is named in the replica set');

const site = z.strictObject({ members: z.array(member).min(1) });

/** MongoDB's part of a store in the config. */
export const settings = z.strictObject({
  replicaSet: z.string().min(1),
  /** Needs the roles backup, clusterManager, clusterMonitor, readAnyDatabase, read on `local`, readWrite on `drctl`. */
  user: z.string().optional(),
  password: secretField.optional(),
  authSource: z.string().default('admin'),
  tls: z
    .strictObject({
      authorityFile: z.string().optional(),
      certificateKeyFile: z.string().optional(),
      allowInvalidHostnames: z.boolean().default(false),
    })
    .optional(),
  /** Members by site; a member that only votes (a witness) belongs to none or to a site of its own. */
  sites: z.record(z.string(), site),
  /** A dump reads a secondary; with this it may fall back to the primary where no secondary answers. */
  allowPrimary: z.boolean().default(false),
  /** Folder that holds `mongod` on the worker, for restores; found on PATH where it is left out. */
  toolsDirectory: z.string().optional(),
});

export type MongodbSettings = z.output<typeof settings>;
