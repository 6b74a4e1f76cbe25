import { z } from 'zod';
import { RETENTION_KINDS, type RetentionKind } from '../core/retention/policy';
import { parseDurationMilliseconds } from '../core/clock';
import { SEVERITIES, type Severity } from '../core/notify';
import { STORAGE_CLASSES } from '../core/storage-classes';
import { type Duration, duration, keepFor, name } from './values';

/** How long each tier keeps a kind of backup: the worker's disk, the repository, the archive classes behind it. */
const tiers = z.strictObject({ local: keepFor, cloud: keepFor, archive: keepFor });

export const retentionSettings = z
  .strictObject({
    ...(Object.fromEntries(RETENTION_KINDS.map((kind) => [kind, tiers])) as Record<RetentionKind, typeof tiers>),
    grace: duration
      .default({ text: '1h', milliseconds: 3_600_000, seconds: 3_600 })
      .meta({ description: 'From the mark of what will go until it goes: time to put a hold on it' }),
    maxDeleteShare: z
      .number()
      .min(0)
      .max(1)
      .default(0.5)
      .meta({ description: "A run that would delete a larger share of a store's backups, or of its bytes, refuses" }),
    orphansAfter: duration
      .default({ text: '3d', milliseconds: 259_200_000, seconds: 259_200 })
      .refine(({ seconds }) => seconds >= 86_400, 'must be at least 1d: a dump and its upload may take as long')
      .meta({ description: 'Data without a manifest, and unfinished uploads, are removed when they are older' }),
  })
  .meta({ description: 'How long backups are kept, by kind and tier, and how they go' });

export const lifecycleSettings = z
  .strictObject({
    transitions: z.array(
      z.strictObject({
        after: keepFor.refine(({ seconds }) => seconds !== null, 'must end: leave the transition out instead'),
        storageClass: z.enum(STORAGE_CLASSES).exclude(['STANDARD']),
      }),
    ),
    expireAfter: keepFor.meta({
      description: 'What retention did not delete by then, S3 does; forever: it deletes nothing by itself',
    }),
  })
  .meta({ description: 'Storage classes of what backups consist of, by its age; applied by `drctl lifecycle apply`' });

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
    copyBehind: byDefault('15m', 'warning'),
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
