import type { Manifest } from '../../../core/catalog';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import { floorToSegment, lineageOf, parseLsn, systemOf, timelineOf } from './lsn';
import { LogChain, type LogStretch, TimelineLog } from './timeline-log';
import { historyKey, intact, parseHistory } from './timeline-history';

/** One timeline's part of the way from a backup to a target. `until` is where its successor branched off; null at the end. */
export interface PathStep {
  readonly timeline: number;
  readonly until: bigint | null;
}

/** Pieces that lie between two heartbeats: many where one was long in coming. */
const NOTED_LOOKS = 50;

/** What is archived of a store, read once for a plan. */
export class ArchivedLog {
  private readonly archive: LogArchive;
  private readonly histories: ReadonlyMap<string, Buffer | Error>;
  private readonly byLineage: ReadonlyMap<string, TimelineLog>;
  private readonly paths = new Map<string, PathStep[] | null>();
  /** What was looked up already: the chains of many backups end with the same entry. */
  private readonly covered = new Map<string, Promise<string | null>>();

  private constructor(
    archive: LogArchive,
    histories: ReadonlyMap<string, Buffer | Error>,
    byLineage: ReadonlyMap<string, TimelineLog>,
  ) {
    this.archive = archive;
    this.histories = histories;
    this.byLineage = byLineage;
  }

  static async read(archive: LogArchive): Promise<ArchivedLog> {
    const lineages = await archive.lineages();
    const logs = await Promise.all(
      lineages.map(async (each) => [each, new TimelineLog(each, await archive.entries(each))] as const),
    );
    return new ArchivedLog(archive, await archive.history(), new Map(logs));
  }

  get lineages(): string[] {
    return [...this.byLineage.keys()];
  }

  /**
   * The timelines that lead to `lineage`, oldest first, itself last. Null when its history file is missing; throws
   * BackupCorrupt that names a damaged one.
   */
  path(lineage: string): PathStep[] | null {
    const known = this.paths.get(lineage);
    if (known !== undefined) return known;
    const found = this.readPath(lineage);
    this.paths.set(lineage, found);
    return found;
  }

  private readPath(lineage: string): PathStep[] | null {
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
    const stretches: LogStretch[] = [];
    // From the segment's beginning, though replay begins at `start`: the server reads a segment's first page before any other.
    let cursor = floorToSegment(parseLsn(backup.start.value), segmentBytes);
    for (const { timeline, until } of path.slice(first)) {
      // The successor's first segment repeats this timeline's bytes of it, and the server prefers that one.
      const end = until === null ? null : floorToSegment(until, segmentBytes);
      if (end !== null && cursor >= end) continue;
      const stretch = this.byLineage
        .get(lineageOf(backup.identity, timeline))
        ?.behind(floorToSegment(cursor, segmentBytes), end);
      cursor = stretch?.reaches ?? floorToSegment(cursor, segmentBytes);
      if (stretch && stretch.end > stretch.first) stretches.push(stretch);
      if (end !== null && cursor < end) break;
    }
    return new LogChain(stretches, cursor >= stop);
  }

  /** The entry behind which every commit up to `time` lies, by its index; null when none is known to. */
  async indexCovering(chain: LogChain, time: string): Promise<number | null> {
    const wanted = Date.parse(time);
    // `coversUntil` only grows within a lineage: each lineage's stretch is searched by halves, a look-up a step.
    let before = 0;
    for (const { log, first, end } of chain.stretches) {
      if (await this.covers(log.entries[end - 1] as LogEntry, wanted)) {
        let [low, high] = [first, end - 1];
        while (low < high) {
          const middle = (low + high) >> 1;
          if (await this.covers(log.entries[middle] as LogEntry, wanted)) high = middle;
          else low = middle + 1;
        }
        return before + low - first;
      }
      before += end - first;
    }
    return null;
  }

  /** The newest instant that the chain covers; null when no heartbeat was archived. */
  async coversUntil(chain: LogChain): Promise<string | null> {
    // Before the first heartbeat of a lineage nothing is known: then the end of the lineage before it counts.
    for (const { log, end } of chain.stretches.toReversed()) {
      const until = await this.coveredBy(log.entries[end - 1] as LogEntry);
      if (until !== null) return until;
    }
    return null;
  }

  /**
   * Of the instants noted along the chain the last but one up to `instant`. They are heartbeats, each written when the one
   * before it had been committed: of the last one nobody knows whether it was committed by then.
   */
  async notedBefore(chain: LogChain, instant: string): Promise<string | null> {
    const covering = await this.indexCovering(chain, instant);
    const noted = new Set<string>();
    for (const entry of chain.entries
      .slice(0, (covering ?? chain.entries.length) + 1)
      .slice(-NOTED_LOOKS)
      .toReversed()) {
      const at = await this.coveredBy(entry);
      if (at !== null && Date.parse(at) <= Date.parse(instant)) noted.add(at);
      if (noted.size === 2) return [...noted][1] ?? null;
    }
    return null;
  }

  private async covers(entry: LogEntry, wanted: number): Promise<boolean> {
    const until = await this.coveredBy(entry);
    return until !== null && Date.parse(until) >= wanted;
  }

  private coveredBy(entry: LogEntry): Promise<string | null> {
    const known = this.covered.get(entry.key);
    if (known) return known;
    const found = this.archive.resolve(entry).then(({ coversUntil }) => coversUntil);
    this.covered.set(entry.key, found);
    return found;
  }
}
