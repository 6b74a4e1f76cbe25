import type { Manifest } from '../../../core/catalog';
import type { LogEntry } from '../../../core/log-archive';
import type { ListedLog } from '../listed-log';
import { compareOptimes, type Optime, optimeOf } from './positions';

/** The pieces that lead on from a backup without a gap; the first begins at or before its end. */
export interface LogChain {
  readonly backup: Manifest;
  readonly entries: readonly LogEntry[];
  /** The last position that can be reached, and the instant until which it covers everything; ISO 8601. */
  readonly end: Optime;
  readonly coversUntil: string;
}

const fromOf = (entry: LogEntry) => optimeOf(entry.from);
const toOf = (entry: LogEntry) => optimeOf(entry.to);

/** What can be reached from a backup, with the log or without it. */
export async function chainFrom(backup: Manifest, log: ListedLog | null): Promise<LogChain> {
  const stop = optimeOf(stopOf(backup));
  const all = log && backup.lineage ? await log.entries(backup.lineage) : [];
  const entries: LogEntry[] = [];
  let end = stop;
  for (const entry of all) {
    if (compareOptimes(toOf(entry), end) <= 0) continue;
    if (compareOptimes(fromOf(entry), end) > 0) {
      if (log) log.hasHole = true;
      break;
    }
    entries.push(entry);
    end = toOf(entry);
  }
  const coversUntil = log ? await log.coveredBy(entries) : null;
  return { backup, entries, end, coversUntil: later(backup.consistentAt, coversUntil) };
}

function later(a: string, b: string | null): string {
  return b !== null && Date.parse(b) > Date.parse(a) ? b : a;
}

export function stopOf(backup: Manifest) {
  if (!backup.stop) throw new Error(`the manifest of ${backup.backupId} has no stop position`);
  return backup.stop;
}
