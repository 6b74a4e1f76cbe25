import { failure } from '../../../core/errors';
import { parseLsn } from './lsn';
import { type Choice, stopOf } from './recovery-candidates';
import type { WalSearch } from './wal-search';

/** rmgrlist.h, pg_control.h */
const XLOG = 0;
const BACKUP_END = 0x50;

/**
 * A primary ends each of its base backups with a record in the log that names the position where the backup began: with it
 * the archived log is known to be this backup's. Positions alone would agree with the log of a clone, too, and replay would
 * find out only at the restore. A standby writes nothing: its backups end where it had to replay to.
 *
 * Throws PitrTargetUnreachable where the record is not there, BackupCorrupt where its segment cannot be read.
 */
export async function requireBackupEnd({ candidate, last }: Choice, search: WalSearch): Promise<void> {
  const { backup, chain } = candidate;
  if (backup.source.follows !== undefined || backup.start === null) return;
  const record = await search.before(chain.entries.slice(0, last + 1), stopOf(backup));
  const isEnd = record?.resourceManager === XLOG && (record.info & 0xf0) === BACKUP_END;
  if (isEnd && record.data.length >= 8 && record.data.readBigUInt64LE(0) === parseLsn(backup.start.value)) return;
  throw failure(
    'PitrTargetUnreachable',
    `the log that is archived at ${backup.stop?.value} of ${backup.lineage} does not hold the end of ${backup.backupId}: ` +
      'it was written by another server than the one that the backup was read from',
    {
      next: 'Restore from another backup, and look which servers wrote under this timeline: `drctl log status` shows it.',
    },
  );
}
