import { z } from 'zod';
import { STORAGE_CLASSES } from './adapter-settings';
import { parseDurationMilliseconds } from '../core/clock';
import { SEVERITIES, type Severity } from '../core/notify';
import { type Duration, duration, keepFor, name } from './values';

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
    stores: z
      .record(name, z.strictObject({ backupMaxAge: duration }))
      .default({})
      .meta({ description: 'Stores that are backed up more rarely or more often than the others' }),
    proofMaxAge: duration
      .optional()
      .meta({ description: 'A store of which no backup was read completely or restored for longer is not healthy' }),
  })
  .meta({ description: 'When a store counts as healthy' });

const severity = z.enum(SEVERITIES);
const alert = z.strictObject({ for: duration, severity });

/** What is told of what the config does not name: at once and loudly where data are at stake. */
const byDefault = (text: string, of: Severity) => {
  const milliseconds = parseDurationMilliseconds(text);
  return alert.default({ for: { text, milliseconds, seconds: milliseconds / 1_000 }, severity: of });
};

export const alertSettings = z
  .strictObject({
    backupFailure: byDefault('15m', 'critical'),
    backupDelayed: alert
      .extend({ olderThan: duration })
      .default({ olderThan: hours(24), for: hours(1), severity: 'warning' }),
    backupMissing: byDefault('15m', 'critical'),
    backupDamaged: byDefault('0s', 'critical'),
    rpoBreached: byDefault('5m', 'critical'),
    logGap: byDefault('0s', 'critical'),
    slotLost: byDefault('0s', 'critical'),
    proofFailed: byDefault('0s', 'critical'),
    proofTooOld: byDefault('1h', 'warning'),
    recoveryTooSlow: byDefault('0s', 'warning'),
    notReady: byDefault('15m', 'critical'),
    drSiteDown: byDefault('5m', 'critical'),
    metricsMissing: byDefault('5m', 'critical'),
    repeatAfter: duration.default(hours(24)).meta({ description: 'The same trouble is told again after this long' }),
  })
  .prefault({})
  .meta({ description: 'What people are told of: how long it has to last, and how loud it is' });

export const dashboardSettings = z
  .strictObject({
    successRate: z.number().min(0).max(1).default(0.999),
    backupDuration: duration.default(hours(1)),
    backupSizeTrend: z.enum(['increasing', 'stable']).default('increasing'),
    recoveryTime: duration.optional().meta({ description: 'The RTO where it is left out' }),
  })
  .prefault({})
  .meta({ description: 'Thresholds drawn on the dashboard' });

function hours(count: number): Duration {
  return { text: `${count}h`, milliseconds: count * 3_600_000, seconds: count * 3_600 };
}
