import * as z from 'zod';
import { BACKUP_TYPES, type Json, type JsonObject, type Manifest } from '../../core/catalog';
import type { EpochRecord } from '../../core/epoch';
import { isBackupId } from '../../core/layout';
import type { AttemptRecord } from '../../core/transfer';
import type { Decision } from './decision';

const json: z.ZodType<Json> = z.json();
const jsonObject = z.record(z.string(), json) as z.ZodType<JsonObject>;
const instant = z.iso.datetime({ offset: true });
const bytes = z.int().nonnegative();
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, 'must be a SHA-256 in lower-case hexadecimal');
const backupId = z.string().refine(isBackupId, 'must be a backup id');
const position = z.strictObject({ engine: z.string(), lineage: z.string(), value: z.string() });

/** Keys come back to the repository's own check when they are used; here they only must not be empty. */
const key = z.string().min(1);

const artifact = z.strictObject({
  name: z.string().min(1),
  key,
  sizeBytes: bytes,
  contentBytes: bytes,
  sha256,
  composite: z.string().optional(),
  contentSha256: sha256,
  codec: z.enum(['zstd', 'none']),
  encryptionKeyId: z.string().nullable(),
});

const earlyFile = z.strictObject({ name: z.string().min(1), key, sizeBytes: bytes, sha256 });

const dumpResult = z.strictObject({
  start: position.nullable(),
  stop: position.nullable(),
  startedAt: instant,
  consistentAt: instant,
  identity: z.string(),
  lineage: z.string().nullable(),
  serverVersion: z.string(),
  toolVersions: z.record(z.string(), z.string()),
  source: z.strictObject({ site: z.string(), member: z.string(), follows: z.string().optional() }),
  warnings: z.array(z.string()),
  detail: jsonObject,
});

export const manifestSchema: z.ZodType<Manifest> = z.strictObject({
  ...dumpResult.shape,
  formatVersion: z.literal(1),
  backupId,
  application: z.string(),
  store: z.string(),
  engine: z.string(),
  type: z.enum(BACKUP_TYPES),
  parent: backupId.nullable(),
  typeReason: z.string().nullable(),
  committedAt: instant,
  artifacts: z.array(artifact),
  early: z.array(earlyFile),
  attempt: z.int().positive(),
  workflowId: z.string(),
  runId: z.string(),
});

export const attemptSchema: z.ZodType<AttemptRecord> = z.strictObject({
  formatVersion: z.literal(1),
  store: z.string(),
  backupId,
  attempt: z.int().positive(),
  dump: dumpResult,
  artifacts: z.array(artifact),
  early: z.array(earlyFile),
});

export const decisionSchema: z.ZodType<Decision> = z.strictObject({
  formatVersion: z.literal(1),
  store: z.string(),
  backupId,
  attempt: z.int().positive().nullable(),
  manifest: manifestSchema.nullable(),
});

export const epochSchema: z.ZodType<EpochRecord> = z.strictObject({
  epoch: z.int().positive(),
  activeSite: z.string().min(1),
  previousSite: z.string().nullable(),
  takenAt: instant,
  reason: z.string(),
  workflowId: z.string(),
  runId: z.string(),
  approvedBy: z.string().nullable(),
});
