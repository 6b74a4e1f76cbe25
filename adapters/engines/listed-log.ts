import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../core/call';
import type { LogArchive, LogEntry } from '../../core/log-archive';

/** An archive's listing is believed for two seconds (adapters/repository/log-listing.ts): after this it is a new one. */
const LISTED_ANEW_MILLISECONDS = 2_500;

/** A piece says what it covers, unless a process died between it and its annotation: then the one before it is asked. */
const COVERAGE_LOOKS = 20;

/** The same log, its listings kept: one question about many backups of a lineage lists its pieces once. */
export class ListedLog {
  /** A piece that was listed says nothing any more: it may have given way to a segment since. */
  hasVanished = false;
  /** Pieces lie behind a hole: a segment may have taken the place of slices just while they were listed. */
  hasHole = false;
  private readonly log: LogArchive;
  private readonly listings = new Map<string, Promise<LogEntry[]>>();

  constructor(log: LogArchive) {
    this.log = log;
  }

  entries(lineage: string): Promise<LogEntry[]> {
    const listing = this.listings.get(lineage) ?? this.log.entries(lineage);
    this.listings.set(lineage, listing);
    return listing;
  }

  /** The instant until which the last of these pieces covers everything; null where none says. */
  async coveredBy(entries: readonly LogEntry[]): Promise<string | null> {
    for (const entry of entries.slice(-COVERAGE_LOOKS).toReversed()) {
      const { coversUntil } = await this.log.resolve(entry);
      if (coversUntil !== null) return coversUntil;
      this.hasVanished = true;
    }
    return null;
  }
}

/**
 * Asks a question about the log, and once more of a new listing where the first one was being changed. `ctx` null: a hole is
 * taken as it is, nobody waits for another listing.
 */
export async function askLog<T>(
  log: LogArchive | null,
  ctx: Pick<CallContext, 'log' | 'signal'> | null,
  question: (log: ListedLog | null) => Promise<T>,
): Promise<T> {
  if (!log) return question(null);
  const listed = new ListedLog(log);
  const isStale = () => listed.hasVanished || (ctx !== null && listed.hasHole);
  try {
    const answer = await question(listed);
    if (!isStale()) return answer;
  } catch (error) {
    if (!isStale()) throw error;
  }
  if (ctx && listed.hasHole) {
    ctx.log.warn({}, 'the log is listed again: pieces of it lie behind a hole');
    await sleep(LISTED_ANEW_MILLISECONDS, undefined, { signal: ctx.signal });
  }
  return question(new ListedLog(log));
}
