import type { Manifest } from '../../../core/catalog';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { floorToSegment, lineageOf, parseLsn, systemOf, timelineOf } from './lsn';
import { historyKey, intact, parseHistory } from './timeline-history';

/** One timeline's part of the way from a backup to a target. `until` is where its successor branched off; null at the end. */
export interface PathStep {
  readonly timeline: number;
  readonly until: bigint | null;
}

/** The unbroken log behind a backup, in replay order. */
export interface LogChain {
  readonly entries: readonly LogEntry[];
  /** Whether it reaches the backup's stop position: without that the backup cannot be used. */
  readonly reachesStop: boolean;
}

/** What is archived of a store, read once for a plan. */
export class ArchivedLog {
  private readonly archive: LogArchive;
  private readonly histories: ReadonlyMap<string, Buffer | Error>;
  private readonly byLineage: ReadonlyMap<string, readonly LogEntry[]>;

  private constructor(
    archive: LogArchive,
    histories: ReadonlyMap<string, Buffer | Error>,
    byLineage: ReadonlyMap<string, readonly LogEntry[]>,
  ) {
    this.archive = archive;
    this.histories = histories;
    this.byLineage = byLineage;
  }

  static async read(archive: LogArchive): Promise<ArchivedLog> {
    const lineages = await archive.lineages();
    const entries = await Promise.all(lineages.map(async (each) => [each, await archive.entries(each)] as const));
    return new ArchivedLog(archive, await archive.history(), new Map(entries));
  }

  get lineages(): string[] {
    return [...this.byLineage.keys()];
  }

  /**
   * The timelines that lead to `lineage`, oldest first, itself last. Null when its history file is missing; throws
   * BackupCorrupt that names a damaged one.
   */
  path(lineage: string): PathStep[] | null {
    const [systemId, timeline] = [systemOf(lineage), timelineOf(lineage)];
    const name = historyKey(systemId, timeline);
    const history = intact(this.histories.get(name));
    if (timeline > 1 && !history) return null;
    const ancestors = history ? parseHistory(history.toString('utf8'), timeline, `history file ${name}`) : [];
    return [
      ...ancestors.map((each) => ({ timeline: each.timeline, until: each.switchLsn })),
      { timeline, until: null },
    ];
  }

  /** Null when the backup does not lie on the way to `lineage`. */
  chainFrom(backup: Manifest, lineage: string): LogChain | null {
    if (!backup.start || !backup.stop || backup.lineage === null || systemOf(lineage) !== backup.identity) return null;
    const path = this.path(lineage);
    const first = path?.findIndex((step) => step.timeline === timelineOf(backup.lineage as string)) ?? -1;
    const step = path?.[first];
    const stop = parseLsn(backup.stop.value);
    if (!path || !step || (step.until !== null && stop > step.until)) return null;
    const segmentBytes = BigInt(Number(backup.detail['segmentBytes']));
    const entries: LogEntry[] = [];
    // From the segment's beginning, though replay begins at `start`: the server reads a segment's first page before any other.
    let cursor = floorToSegment(parseLsn(backup.start.value), segmentBytes);
    for (const { timeline, until } of path.slice(first)) {
      // The successor's first segment repeats this timeline's bytes of it, and the server prefers that one.
      const end = until === null ? null : floorToSegment(until, segmentBytes);
      if (end !== null && cursor >= end) continue;
      cursor = floorToSegment(cursor, segmentBytes);
      for (const entry of this.byLineage.get(lineageOf(backup.identity, timeline)) ?? []) {
        const [from, to] = [parseLsn(entry.from.value), parseLsn(entry.to.value)];
        if (to <= cursor) continue;
        if (from > cursor || (end !== null && from >= end)) break;
        entries.push(entry);
        cursor = to;
      }
      if (end !== null && cursor < end) break;
    }
    return { entries, reachesStop: cursor >= stop };
  }

  /** The entry behind which every commit up to `time` lies, by its index; null when none is known to. */
  async indexCovering(chain: LogChain, time: string): Promise<number | null> {
    const wanted = Date.parse(time);
    // `coversUntil` only grows within a lineage: each lineage's stretch is searched by halves, a look-up a step.
    for (let end = 0, start = 0; start < chain.entries.length; start = end) {
      const { lineage } = chain.entries[start] as LogEntry;
      end = chain.entries.findIndex((entry, index) => index >= start && entry.lineage !== lineage);
      if (end === -1) end = chain.entries.length;
      if (!(await this.covers(chain.entries[end - 1] as LogEntry, wanted))) continue;
      let [low, high] = [start, end - 1];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (await this.covers(chain.entries[middle] as LogEntry, wanted)) high = middle;
        else low = middle + 1;
      }
      return low;
    }
    return null;
  }

  /** The newest instant that the chain covers; null when no heartbeat was archived. */
  async coversUntil(chain: LogChain): Promise<string | null> {
    for (let index = chain.entries.length - 1; index >= 0; index -= 1) {
      const entry = chain.entries[index] as LogEntry;
      const { coversUntil } = entry.coversUntil === null ? await this.archive.resolve(entry) : entry;
      if (coversUntil !== null) return coversUntil;
      // Before the first heartbeat of a lineage nothing is known: skip to the lineage before it.
      const before = chain.entries.findLastIndex((each, at) => at < index && each.lineage !== entry.lineage);
      index = before + 1;
    }
    return null;
  }

  private async covers(entry: LogEntry, wanted: number): Promise<boolean> {
    const { coversUntil } = entry.coversUntil === null ? await this.archive.resolve(entry) : entry;
    return coversUntil !== null && Date.parse(coversUntil) >= wanted;
  }
}
