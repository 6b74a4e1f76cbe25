import { z } from 'zod';
import { STORAGE_CLASSES } from './adapter-settings';
import { duration, keepFor } from './values';

/** How long each tier keeps a kind of backup: the worker's disk, the repository, the archive classes behind it. */
const tiers = z.strictObject({ local: keepFor, cloud: keepFor, archive: keepFor });

export const RETENTION_KINDS = [
  'databaseFull',
  'databaseIncremental',
  'transactionLogs',
  'files',
  'configuration',
] as const;

export const retentionSettings = z
  .strictObject(
    Object.fromEntries(RETENTION_KINDS.map((kind) => [kind, tiers])) as Record<
      (typeof RETENTION_KINDS)[number],
      typeof tiers
    >,
  )
  .meta({ description: 'How long backups are kept, by kind and tier' });

export const lifecycleSettings = z
  .strictObject({
    transitions: z.array(
      z.strictObject({
        after: keepFor,
        storageClass: z.enum(STORAGE_CLASSES).exclude(['STANDARD']),
      }),
    ),
    expireAfter: keepFor,
  })
  .meta({ description: 'Storage classes of the bucket by age' });

export const monitoringSettings = z
  .strictObject({
    backupMaxAge: duration.meta({ description: 'A store whose newest backup is older is not healthy' }),
    proofMaxAge: duration.optional(),
  })
  .meta({ description: 'When a store counts as healthy' });

const alert = z.strictObject({ for: duration, severity: z.enum(['info', 'warning', 'critical']) });

export const alertSettings = z
  .strictObject({
    backupFailure: alert,
    backupDelayed: alert.extend({ olderThan: duration }),
    drSiteDown: alert,
  })
  .meta({ description: 'Alert rules' });

export const dashboardSettings = z
  .strictObject({
    successRate: z.number().min(0).max(1),
    backupDuration: duration,
    backupSizeTrend: z.enum(['increasing', 'stable']),
    recoveryTime: duration,
  })
  .meta({ description: 'Thresholds drawn on the dashboard' });
