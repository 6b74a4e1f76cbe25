import type { CallContext } from '../../core/call';
import { reasonOf } from '../../core/errors';
import type { LogArchive, LogEntry, LogPiece } from '../../core/log-archive';
import type { Position } from '../../core/positions';
import { isUnreadable, openedAhead, type OpenedPiece } from './opened-pieces';

/** When slices give way to a segment: whichever is reached first. */
export interface MergeBounds {
  readonly contentBytes: number;
  readonly seconds: number;
}

/**
 * A segment is put together, compressed, read back and replayed in memory, so that it stays as large as MongoDB's largest
 * document. Of a quiet store it takes ten minutes' slices: 144 objects a day instead of 86,400, while what a restore fetches for a
 * second of log that it wants stays small.
 */
export const MERGE_BOUNDS: MergeBounds = { contentBytes: 16 * 1024 * 1024, seconds: 600 };

/** How an engine makes one segment of slices. */
export interface MergeableLog {
  compare(a: Position, b: Position): number;
  /** How much time lies between the beginning of one slice and the end of another; unknown: none. */
  secondsBetween(first: LogEntry, last: LogEntry): number;
  /** Whether it may be part of a segment, `before` being the one that leads to it. Left out: every slice may. */
  isMergeable?(slice: LogEntry, before: LogEntry | null): boolean;
  join(): JoinedPieces;
}

/** Slices that follow each other, put together. */
export interface JoinedPieces {
  readonly slices: readonly LogEntry[];
  /**
   * False where it would make more than `limitBytes`, or cannot be part of the same segment: it is left out then. The first one
   * is always taken. Throws BackupCorrupt for a slice that is not the continuation of those before it.
   */
  add(piece: OpenedPiece, limitBytes: number): Promise<boolean>;
  segment(coversUntil: string | null): LogPiece;
}

/** Of an archive that was never merged, so many are held in mind at once: a week of it is 600,000. */
const SLICES_AT_ONCE = 10_000;

/**
 * Has segments take the place of a lineage's slices, beside the archiving, which never waits for it: what it leaves undone is
 * only many small objects. The segment is stored and read back before a slice goes, so that whoever dies in between leaves
 * both; the next one removes the slices. What a merge takes is read back from the archive: it is the same after a restart.
 */
export class SliceMerger {
  private readonly archive: LogArchive;
  private readonly lineage: string;
  private readonly log: MergeableLog;
  private readonly bounds: MergeBounds;
  private readonly ctx: CallContext;
  /** Of slices that this archiver stored itself; a listing says only how much is stored. */
  private readonly contentBytes = new Map<string, number>();
  private readonly unreadable = new Set<string>();
  /** What was stored since it was last looked for something to merge. */
  private waiting = { bytes: 0, first: null as LogEntry | null };
  private running: Promise<void> | null = null;
  private failed: string | null = null;
  private stopped = false;

  constructor(archive: LogArchive, lineage: string, log: MergeableLog, bounds: MergeBounds, ctx: CallContext) {
    this.archive = archive;
    this.lineage = lineage;
    this.log = log;
    this.bounds = bounds;
    this.ctx = ctx;
  }

  /**
   * Removes what an archiver that died left behind, and merges what is enough for a segment. Resolves when nothing more is,
   * also after a failure: `problem` tells it.
   */
  begin(): Promise<void> {
    if (this.stopped) return Promise.resolve();
    this.running ??= this.work()
      .catch((error: unknown) => {
        if (this.ctx.signal.aborted) return;
        // Tried again after as much log as makes a segment.
        this.failed = reasonOf(error);
        this.waiting = { bytes: 0, first: null };
        this.ctx.log.error({ lineage: this.lineage, error: this.failed }, 'slices of the log were not merged');
      })
      .finally(() => (this.running = null));
    return this.running;
  }

  stored(slice: LogEntry, contentBytes: number): void {
    this.contentBytes.set(slice.key, contentBytes);
    const first = this.waiting.first ?? slice;
    this.waiting = { bytes: this.waiting.bytes + contentBytes, first };
    if (this.isEnough(this.waiting.bytes, first, slice)) void this.begin();
  }

  /** Why the last merge was not made; null when it was. */
  problem(): string | null {
    return this.failed && `merging slices: ${this.failed}`;
  }

  /** Resolves when nothing of it is under way any more: a segment that was begun is finished first. */
  async stop(): Promise<void> {
    this.stopped = true;
    await this.running;
  }

  private isEnough(bytes: number, first: LogEntry, last: LogEntry): boolean {
    return bytes >= this.bounds.contentBytes || this.log.secondsBetween(first, last) >= this.bounds.seconds;
  }

  private async work(): Promise<void> {
    for (let merged = true; merged && !this.stopped;) {
      merged = false;
      await this.sweep();
      const runs = this.runs(await this.archive.entries(this.lineage));
      this.waiting = this.sumOf(runs.at(-1) ?? []);
      for (const run of runs) {
        for (let rest: readonly LogEntry[] = run; !this.stopped;) {
          const due = this.firstDue(rest);
          if (!due) break;
          merged = true;
          const done = await this.merge(due);
          rest = rest.slice(done);
          // Of two archivers that cut the log differently: it lies in the segment, and goes with the next sweep.
          if (rest[0] && this.log.compare(rest[0].to, (due[done - 1] as LogEntry).to) <= 0) break;
        }
      }
    }
    this.failed = null;
  }

  private async sweep(): Promise<void> {
    for (const { segment, slices } of await this.archive.replaced(this.lineage)) {
      try {
        await this.archive.replace(slices, segment);
        this.ctx.log.info(
          { segment: segment.key, slices: slices.length },
          'removed slices that a segment had replaced',
        );
      } catch (error) {
        // They are what is left of that log.
        if (!isUnreadable(error)) throw error;
        this.ctx.log.error({ segment: segment.key, cause: String(error) }, 'a segment is damaged: its slices are kept');
      }
    }
  }

  /** Slices that follow each other, with nothing between them; the last one, which may be empty, ends where the log does. */
  private runs(entries: readonly LogEntry[]): LogEntry[][] {
    let run: LogEntry[] = [];
    const runs = [run];
    let [end, count, before]: [Position | null, number, LogEntry | null] = [null, 0, null];
    for (const entry of entries) {
      const isSlice =
        entry.kind === 'slice' && !this.unreadable.has(entry.key) && (this.log.isMergeable?.(entry, before) ?? true);
      before = entry;
      const isNext = isSlice && end !== null && this.log.compare(entry.from, end) <= 0;
      if (!isNext) {
        if (run.length > 0) runs.push((run = []));
        end = null;
      }
      if (!isSlice) continue;
      if ((count += 1) > SLICES_AT_ONCE) break;
      run.push(entry);
      end = end && this.log.compare(end, entry.to) > 0 ? end : entry.to;
    }
    return runs;
  }

  /** The slices at the front of a run that are enough for a segment; null while they are not, and then they wait. */
  private firstDue(run: readonly LogEntry[]): readonly LogEntry[] | null {
    let bytes = 0;
    for (const [index, slice] of run.entries()) {
      bytes += this.sizeOf(slice);
      if (this.isEnough(bytes, run[0] as LogEntry, slice)) return run.slice(0, index + 1);
    }
    return null;
  }

  private sumOf(run: readonly LogEntry[]): { bytes: number; first: LogEntry | null } {
    return { bytes: run.reduce((sum, each) => sum + this.sizeOf(each), 0), first: run[0] ?? null };
  }

  private sizeOf(slice: LogEntry): number {
    return this.contentBytes.get(slice.key) ?? slice.sizeBytes;
  }

  /** Answers how many slices from the front are done with: merged, or left as they are because one cannot be read. */
  private async merge(due: readonly LogEntry[]): Promise<number> {
    const joined = this.log.join();
    let skipped = 0;
    try {
      for await (const piece of openedAhead(this.archive, due, this.ctx.signal)) {
        if (!(await joined.add(piece, this.bounds.contentBytes))) break;
      }
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      const { key } = due[joined.slices.length] as LogEntry;
      this.unreadable.add(key);
      this.ctx.log.warn({ key, error: reasonOf(error) }, 'a slice cannot be read: it is in no segment');
      skipped = 1;
    }
    if (joined.slices.length === 0) return skipped;
    const segment = await this.archive.append(joined.segment(await this.coveredBy(joined.slices)));
    await this.archive.replace(joined.slices, segment);
    for (const { key } of joined.slices) this.contentBytes.delete(key);
    this.ctx.log.info({ segment: segment.key, slices: joined.slices.length }, 'slices gave way to a segment');
    return joined.slices.length + skipped;
  }

  /** What the last of them covers; of an earlier one where a process died before it could be noted. */
  private async coveredBy(slices: readonly LogEntry[]): Promise<string | null> {
    for (const slice of slices.toReversed()) {
      const { coversUntil } = await this.archive.resolve(slice);
      if (coversUntil !== null) return coversUntil;
    }
    return null;
  }
}
