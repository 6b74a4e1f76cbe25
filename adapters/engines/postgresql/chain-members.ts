import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import { type BackupManifest, type ManifestFile, readBackupManifest } from './backup-manifest';
import { ChunkReader } from './chunk-reader';
import { formatLsn, parseLsn, timelineOf } from './lsn';
import { memberChecksum } from './member-checksum';
import { paddedBytes, readTarHeader, TAR_BLOCK_BYTES } from './tar-header';
import { volumesHolding } from './volume-files';

const LABEL = 'backup_label';

/**
 * The files of each member of a chain, full first, as the server's own manifests have them. Before anything is restored it
 * is seen that the members belong together, as pg_combinebackup does (check_backup_label_files, check_control_files): every
 * backup is of the cluster and the stretch of WAL that we recorded, and every incremental was made from the one before it.
 * Throws BackupCorrupt naming the backup that does not.
 */
export async function readChain(
  chain: readonly Manifest[],
  source: VolumeSource,
  ctx: CallContext,
): Promise<ReadonlyMap<string, ManifestFile>[]> {
  const early = await Promise.all(chain.map(({ backupId }) => source.early(backupId, 'backup_manifest')));
  const members = early.map((bytes, index) =>
    readBackupManifest(bytes, `backup_manifest of ${(chain[index] as Manifest).backupId}`),
  );
  for (const [index, backup] of chain.entries()) {
    const member = members[index] as BackupManifest;
    requireRecorded(backup, member);
    const before = chain[index - 1];
    if (before) requireContinues(backup, before, await labelOf(backup, member, source, ctx));
    else if (backup.parent !== null) throw wrong(backup, `it builds on ${backup.parent}, which the chain lacks`);
  }
  return members.map(({ files }) => files);
}

/** The server's manifest and ours are of one backup. */
function requireRecorded(backup: Manifest, { systemId, walRanges }: BackupManifest): void {
  if (systemId !== null && systemId !== backup.identity) {
    throw wrong(backup, `its backup_manifest is of the cluster ${systemId}, our manifest of ${backup.identity}`);
  }
  // One range: a backup that would go from one timeline to the next is not taken.
  const said = walRanges.map(({ timeline, start, end }) => rangeText(timeline, start, end)).join(' and ');
  const recorded = rangeText(timelineOf(backup.lineage ?? ''), startOf(backup), parseLsn(backup.stop?.value ?? '0/0'));
  if (said !== recorded) throw wrong(backup, `its backup_manifest needs WAL of ${said}, our manifest says ${recorded}`);
}

function requireContinues(backup: Manifest, before: Manifest, label: string): void {
  if (backup.parent !== before.backupId) {
    throw wrong(backup, `it builds on ${backup.parent ?? 'nothing'}, and what lies before it is ${before.backupId}`);
  }
  if (backup.identity !== before.identity) {
    throw wrong(backup, `it is of the cluster ${backup.identity}, ${before.backupId} of ${before.identity}`);
  }
  const lsn = /^INCREMENTAL FROM LSN: ([0-9A-F]+\/[0-9A-F]+)$/m.exec(label)?.[1];
  const timeline = Number(/^INCREMENTAL FROM TLI: (\d+)$/m.exec(label)?.[1]);
  const began = { lsn: startOf(before), timeline: timelineOf(before.lineage ?? '') };
  if (lsn !== undefined && parseLsn(lsn) === began.lsn && timeline === began.timeline) return;
  const made = lsn === undefined ? 'says that it is a full one' : `says that it was made from ${lsn} on ${timeline}`;
  throw wrong(
    backup,
    `its ${LABEL} ${made}, but ${before.backupId}, before it, began at ${formatLsn(began.lsn)} on timeline ${began.timeline}`,
  );
}

/** The server sends it first of the base directory, so that little is read. */
async function labelOf(
  backup: Manifest,
  { files }: BackupManifest,
  source: VolumeSource,
  ctx: CallContext,
): Promise<string> {
  const holding = volumesHolding(backup.artifacts, files, (name) => name === LABEL);
  for (const artifact of holding.filter(({ name }) => name.startsWith('vol-'))) {
    const reader = new ChunkReader(await source.open(artifact), ctx.signal);
    try {
      for (;;) {
        const block = await reader.exactly(TAR_BLOCK_BYTES);
        const member = block && readTarHeader(block, artifact.key);
        if (!member) break;
        if (member.name === LABEL) {
          const label = await reader.exactly(member.sizeBytes);
          requireIntact(label, files.get(LABEL), artifact.key);
          return (label as Buffer).toString('utf8');
        }
        if (!(await reader.skip(paddedBytes(member.sizeBytes)))) break;
      }
    } finally {
      await reader.close();
    }
  }
  throw wrong(backup, `its volumes lack ${LABEL}`);
}

function requireIntact(label: Buffer | null, expected: ManifestFile | undefined, key: string): void {
  if (label && expected && label.length === expected.sizeBytes) {
    const checksum = memberChecksum(expected.algorithm);
    checksum.update(label);
    if (checksum.hex() === expected.checksum) return;
  }
  throw failure('BackupCorrupt', `${key}: ${LABEL} differs from its checksum in the backup manifest`, {
    context: { key },
  });
}

function startOf({ start }: Manifest): bigint {
  return parseLsn(start?.value ?? '0/0');
}

function rangeText(timeline: number, start: bigint, end: bigint): string {
  return `${formatLsn(start)} to ${formatLsn(end)} on timeline ${timeline}`;
}

function wrong({ backupId, store }: Manifest, why: string): Error {
  return failure('BackupCorrupt', `${backupId} of ${store} cannot be restored in its chain: ${why}`, {
    data: 'Nothing was written. The backups before it in its chain, and other chains, are not affected.',
    context: { store, backupId },
  });
}
