import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../core/call';
import type { DumpResult, Manifest } from '../core/catalog';
import { failure, hasCode, reasonOf } from '../core/errors';
import type { LogEntry } from '../core/log-archive';
import type { OpenApplication } from './deps';

/** The archiver stores a slice every second or two: looking more often finds nothing new. */
export const POLL_MILLISECONDS = 500;
/**
 * Without a step forwards for so long the archiver is not running, and nobody mends it before the next backup. However far
 * it is behind, one that comes nearer is waited for: the dump is finished, and would only have to be made again.
 */
const STANDSTILL_MILLISECONDS = 30 * 60_000;

/**
 * The archiver may be putting a segment in the place of its slices just while they are listed or read. A listing is believed
 * for two seconds (adapters/repository/log-listing.ts): these looks see a newer one.
 */
export const RESTORABLE_LOOKS = 8;

/** Resolves when the archived log covers `result.stop`. Throws BackupIncomplete when it stands still before that. */
export async function waitForLogTo(
  open: OpenApplication,
  store: string,
  result: DumpResult,
  ctx: CallContext,
): Promise<void> {
  const archive = open.logArchive(store);
  if (!archive || !result.stop || result.lineage === null) return;
  const { positions } = open.engine(store);
  let [reached, since]: [LogEntry | null, number] = [null, Date.now()];
  for (;;) {
    ctx.signal.throwIfAborted();
    // After two archivers overlapped, the last entry is not always the one that reaches furthest.
    const newest = (await archive.entries(result.lineage)).reduce<LogEntry | null>(
      (furthest, entry) => (furthest && positions.compare(furthest.to, entry.to) >= 0 ? furthest : entry),
      null,
    );
    if (newest && positions.compare(newest.to, result.stop) >= 0) return;
    if (newest && (!reached || positions.compare(newest.to, reached.to) > 0)) {
      reached = newest;
      since = Date.now();
    }
    const ends = newest ? positions.format(newest.to) : 'nothing';
    if (Date.now() - since > STANDSTILL_MILLISECONDS) {
      throw failure(
        'BackupIncomplete',
        `the archived log of ${store} stands still at ${ends}, ` +
          `the backup needs it up to ${positions.format(result.stop)}`,
        { next: `Look at archive:${open.application.name}:${store} in the Web UI: is the archiver running?` },
      );
    }
    ctx.progress({ phase: 'waiting for the log', note: `is at ${ends}, needs ${positions.format(result.stop)}` });
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

/**
 * That the log reaches the backup's end says nothing of its beginning (a standby's lies behind; a gap may have opened
 * meanwhile): what cannot be planned to be restored is no backup. Throws LogGap.
 */
export async function requireRestorable(open: OpenApplication, manifest: Manifest, ctx: CallContext): Promise<void> {
  const { store, backupId } = manifest;
  const log = open.logArchive(store);
  if (log === null) return;
  const backups = [...(await open.catalog(store).list(store)).filter((each) => each.backupId !== backupId), manifest];
  for (let look = 1; ; look += 1) {
    try {
      await open.engine(store).planRestore({ kind: 'backup', backupId }, { backups, log }, ctx);
      return;
    } catch (error) {
      if (!hasCode(error, 'PitrTargetUnreachable')) throw error;
      if (look >= RESTORABLE_LOOKS) {
        throw failure('LogGap', `${backupId} could not be restored as its log is archived: ${reasonOf(error)}`, {
          data: 'No backup was committed; earlier backups are not affected.',
          next: 'Start the backup again: only one that begins behind the gap in the log can be restored.',
          cause: error,
        });
      }
    }
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}
