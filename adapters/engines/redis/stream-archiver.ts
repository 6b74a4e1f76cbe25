import { setTimeout as delay } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import type { ArchiveOutcome, ArchiveProgress, ArchiveRequest } from '../../../core/engine';
import { reasonOf } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import { MERGE_BOUNDS, type MergeBounds, SliceMerger } from '../slice-merger';
import { findStart, resumeStream } from './archive-start';
import { type RedisEndpoint, withRedis } from './connection';
import { infoPosition, readInfo } from './info';
import { mergeableStream } from './joined-stream';
import { redisPosition } from './positions';
import { type ReplicaLink, withReplicaLink } from './replica-link';
import { SliceCollector, type StreamTail } from './slice-collector';
import { fenced, isFenced, setMark, startMarks, type StreamMarks } from './stream-marks';

/** As much is held while a piece is stored; then the server has to wait, by its output buffer and its backlog. */
const HELD_BYTES = 32 * 1024 * 1024;
/** Stored at once, without waiting for the slice's time. */
const FULL_BYTES = 4 * 1024 * 1024;

/**
 * Follows a primary as a replica does and stores its stream in slices. What is durable in the archive is what is
 * acknowledged. A connection that ends is no gap: the server sends on from there, out of its backlog. Where that does not
 * reach back far enough, the stream begins anew and a base is asked for, before anything is stored behind the gap. Beside it
 * slices give way to segments.
 */
export async function archiveStream(
  endpoint: RedisEndpoint,
  request: ArchiveRequest,
  archive: LogArchive,
  onDurable: (progress: ArchiveProgress) => void,
  ctx: CallContext,
  bounds: MergeBounds = MERGE_BOUNDS,
): Promise<ArchiveOutcome> {
  const { start, clockAhead, markedAt } = await withRedis(endpoint, ctx, async (client) => {
    const found = await findStart(client, endpoint, archive, ctx);
    // Nothing of ours may make a fenced primary go further than the replica that is promoted next.
    if (!(await isFenced(client))) return { start: found, ...(await setMark(client)) };
    if (infoPosition(await readInfo(client, 'replication'))?.value === `${found.tail.offset}`) throw fenced(endpoint);
    return { start: found, clockAhead: 0, markedAt: Date.now() };
  });
  if (start.gap !== null && !request.answeredGaps?.includes(start.gap)) return outcomeOf(start.tail, 0, start.gap);
  const merger = new SliceMerger(archive, start.tail.lineage, mergeableStream, bounds, ctx);
  void merger.begin();
  const marks = startMarks(endpoint, request.sliceMilliseconds / 2, clockAhead, ctx);
  try {
    return await withReplicaLink(endpoint, ctx, async (link) => {
      await resumeStream(link, start.tail);
      const parts = { endpoint, link, archive, merger, marks, onDurable };
      return new StreamArchiver(parts, start.tail, markedAt).run(request, ctx);
    });
  } finally {
    await Promise.all([marks.stop(), merger.stop()]);
  }
}

interface ArchiverParts {
  readonly endpoint: RedisEndpoint;
  readonly link: ReplicaLink;
  readonly archive: LogArchive;
  readonly merger: SliceMerger;
  readonly marks: StreamMarks;
  readonly onDurable: (progress: ArchiveProgress) => void;
}

class StreamArchiver {
  readonly #parts: ArchiverParts;
  readonly #collector: SliceCollector;
  /** Durable, whole. */
  #tail: StreamTail;
  #entriesStored = 0;
  #lost: unknown = null;
  #ended = false;
  /** Resolved when there is room again, or when something is to be stored at once. */
  #room = Promise.withResolvers<void>();
  #wake = Promise.withResolvers<void>();

  constructor(parts: ArchiverParts, tail: StreamTail, resumedAt: number) {
    this.#parts = parts;
    this.#tail = tail;
    this.#collector = new SliceCollector(tail, resumedAt);
  }

  async run(request: ArchiveRequest, ctx: CallContext): Promise<ArchiveOutcome> {
    const { marks, merger } = this.#parts;
    const endAt = Date.now() + request.runForMilliseconds;
    this.#acknowledge();
    const receiving = this.#receive();
    try {
      // Slices begin at this pace, however long it takes to store one: what comes meanwhile has waited for as long already.
      let storingMilliseconds = 0;
      while (Date.now() < endAt && this.#lost === null && !marks.isFenced()) {
        await this.#pause(Math.max(0, request.sliceMilliseconds - storingMilliseconds), ctx.signal);
        ctx.signal.throwIfAborted();
        const startedAt = performance.now();
        await this.#store();
        storingMilliseconds = performance.now() - startedAt;
        this.#acknowledge();
        const note = marks.problem() ?? merger.problem() ?? this.#tail.lineage;
        ctx.progress({ phase: 'archiving the replication stream', doneItems: this.#entriesStored, note });
      }
      if (marks.isFenced()) await this.#pause(request.sliceMilliseconds, ctx.signal);
      await this.#store();
      if (marks.isFenced()) throw fenced(this.#parts.endpoint);
      // The workflow comes back at once where the connection has ended after all; what it brought is kept.
      if (this.#lost !== null && this.#entriesStored === 0) throw this.#lost;
      if (this.#lost !== null) ctx.log.warn({ reason: reasonOf(this.#lost) }, 'the replication stream was cut off');
      return outcomeOf(this.#tail, this.#entriesStored, null);
    } finally {
      this.#ended = true;
      this.#room.resolve();
      // The link is closed by whoever opened it, which ends a read under way.
      void receiving;
    }
  }

  /** Reads until the connection ends. Never rejects: what was received before is stored first. */
  async #receive(): Promise<void> {
    try {
      while (!this.#ended) {
        const chunk = await this.#parts.link.reader.chunk();
        this.#collector.add(chunk, Date.now() + this.#parts.marks.clockAhead());
        if (this.#collector.bytes >= FULL_BYTES) this.#wake.resolve();
        if (this.#collector.bytes >= HELD_BYTES) await this.#room.promise;
      }
    } catch (error) {
      this.#lost = error;
      this.#wake.resolve();
    }
  }

  /**
   * Everything that can be cut of what has come by now. What comes meanwhile is of the next slice: under a load that never
   * pauses this would not end else, and the server would hear nothing of us until it takes us for dead.
   */
  async #store(): Promise<void> {
    const { archive, merger, onDurable } = this.#parts;
    const collector = this.#collector;
    const end = collector.from + collector.bytes;
    for (let piece = collector.cut(); piece; piece = collector.from < end ? collector.cut() : null) {
      const { commands, tail } = collector.lastCut;
      const slice = await archive.append(piece);
      merger.stored(slice, piece.content.byteLength);
      this.#room.resolve();
      this.#room = Promise.withResolvers();
      [this.#tail, this.#entriesStored] = [tail, this.#entriesStored + commands];
      onDurable({
        durable: redisPosition(tail.lineage, tail.offset),
        coversUntil: timeOf(tail.coversUntil),
        entriesStored: this.#entriesStored,
      });
    }
  }

  /** It tells the server that we live, too. */
  #acknowledge(): void {
    this.#parts.link.tell('REPLCONF', 'ACK', `${this.#tail.offset}`);
  }

  async #pause(milliseconds: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const waiting = delay(milliseconds, undefined, { signal: AbortSignal.any([signal, over.signal]) });
    // An abort ends the loop; the caller throws it.
    const ended = waiting.catch((error: Error) => {
      if (error.name !== 'AbortError') throw error;
    });
    await Promise.race([ended, this.#wake.promise]);
    this.#wake = Promise.withResolvers();
    over.abort();
  }
}

function outcomeOf(tail: StreamTail, entriesStored: number, needsBase: string | null): ArchiveOutcome {
  const { lineage, offset, coversUntil } = tail;
  return {
    lineage,
    durable: redisPosition(lineage, offset),
    coversUntil: timeOf(coversUntil),
    entriesStored,
    needsBase,
  };
}

const timeOf = (milliseconds: number | null) => (milliseconds === null ? null : new Date(milliseconds).toISOString());
