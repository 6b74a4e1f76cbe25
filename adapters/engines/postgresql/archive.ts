import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import type { ArchiveOutcome, ArchiveProgress, ArchiveRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import { begin, ensureSlot, findStart, isSlotBusy, renewSlot, type ArchiveStart, type Stretch } from './archive-start';
import { addressOf, withClient } from './connection';
import { Heartbeat } from './heartbeat';
import { keepHistory } from './kept-history';
import { formatLsn, positionAt } from './lsn';
import { isSlotLost, isWalGone, ReplicationConnection } from './replication-connection';
import { requireSameHistory } from './same-history';
import { readFacts } from './server-facts';
import type { PostgresqlSite } from './settings';
import { PieceWriter } from './piece-writer';
import { WalCollector } from './wal-collector';
import { WalStream } from './wal-stream';

interface StreamOptions {
  /** None for a timeline that has ended. */
  readonly slot: string | null;
  readonly heartbeat: Heartbeat | null;
  readonly until: 'its end' | 'the deadline';
}

/** How long a slot held by a dying predecessor is waited for before the attempt ends. */
const SLOT_BUSY_MILLISECONDS = 10_000;

export function slotName(store: string): string {
  return `drctl_${store.toLowerCase().replaceAll(/[^a-z0-9_]/g, '_')}`.slice(0, 63);
}

/**
 * Receives WAL by a physical slot and stores it: slices every `sliceMilliseconds`, each complete segment in place of its
 * slices. The slot is told only of what the archive has durable. Resumes behind what is durable in the archive.
 */
export async function archiveWal(
  site: PostgresqlSite,
  store: string,
  request: ArchiveRequest,
  archive: LogArchive,
  onDurable: (progress: ArchiveProgress) => void,
  ctx: CallContext,
): Promise<ArchiveOutcome> {
  const facts = await withClient(site, (client) => readFacts(client, addressOf(site)), { signal: ctx.signal });
  if (facts.inRecovery) {
    throw failure(
      'RoleMismatch',
      `${addressOf(site)} (site ${request.site}) is a standby; the log is archived at the primary`,
    );
  }
  const slot = slotName(store);
  const connection = await ReplicationConnection.open(site, ctx);
  try {
    await ensureSlot(connection, slot);
    const start = await findStart(connection, slot, archive, facts.segmentBytes, ctx);
    const run = new ArchiveRun(site, slot, request, archive, onDurable, ctx, facts.segmentBytes);
    return await run.all(connection, start);
  } finally {
    await connection.close();
  }
}

class ArchiveRun {
  private readonly site: PostgresqlSite;
  private readonly slot: string;
  private readonly request: ArchiveRequest;
  private readonly archive: LogArchive;
  private readonly onDurable: (progress: ArchiveProgress) => void;
  private readonly ctx: CallContext;
  private readonly segmentBytes: bigint;
  private readonly deadline: number;
  private entriesStored = 0;
  private coversUntil: string | null = null;

  constructor(
    site: PostgresqlSite,
    slot: string,
    request: ArchiveRequest,
    archive: LogArchive,
    onDurable: (progress: ArchiveProgress) => void,
    ctx: CallContext,
    segmentBytes: bigint,
  ) {
    this.site = site;
    this.slot = slot;
    this.request = request;
    this.archive = archive;
    this.onDurable = onDurable;
    this.ctx = ctx;
    this.segmentBytes = segmentBytes;
    this.deadline = Date.now() + request.runForMilliseconds;
  }

  async all(first: ReplicationConnection, start: ArchiveStart): Promise<ArchiveOutcome> {
    const ancestors = start.stretches.slice(0, -1);
    const current = start.stretches.at(-1) as Stretch;
    const damaged = start.overlap ? await requireSameHistory(this.site, start.overlap, this.archive, this.ctx) : null;
    if (this.isNews(damaged)) return this.told(current, damaged);
    if (this.isNews(start.needsBase)) return this.told(current, start.needsBase);
    for (const stretch of ancestors) {
      const gap = await this.ancestor(stretch);
      if (this.isNews(gap)) return this.told(stretch, gap);
    }
    await keepHistory(this.archive, start.histories);
    try {
      return await this.followCurrent(first, current);
    } catch (error) {
      if (!isWalGone(error)) throw error;
      return await this.afterGap(current);
    }
  }

  private isNews(gap: string | null): gap is string {
    return gap !== null && !this.request.answeredGaps?.includes(gap);
  }

  /** The end of a round that has found a gap: `before` is the stretch that ends there. */
  private told(before: Stretch, gap: string): ArchiveOutcome {
    this.ctx.log.error({ lineage: before.lineage }, gap);
    return this.outcome(before.lineage, before.durable, gap);
  }

  private outcome(lineage: string, durable: bigint, needsBase: string | null): ArchiveOutcome {
    const { coversUntil, entriesStored } = this;
    return { lineage, durable: positionAt(lineage, durable), coversUntil, entriesStored, needsBase };
  }

  /** The rest of a timeline that ended, from a server that still has it. Without it there is a gap, not an error. */
  private async ancestor(stretch: Stretch): Promise<string | null> {
    // No heartbeat of ours says more of a timeline that has ended; without what it covered before, nothing of it would be covered.
    this.coversUntil = await this.coveredOf(stretch.lineage);
    const connection = await ReplicationConnection.open(this.site, this.ctx);
    try {
      await this.stream(connection, stretch, { slot: null, heartbeat: null, until: 'its end' });
      return null;
    } catch (error) {
      if (!isWalGone(error)) throw error;
      return `WAL of ${stretch.lineage} from ${formatLsn(stretch.durable)} to its end is gone from the server`;
    } finally {
      await connection.close();
    }
  }

  /** A slot that the server has invalidated says nothing of its WAL (PostgreSQL 18: `idle_replication_slot_timeout`). */
  private async followCurrent(first: ReplicationConnection, stretch: Stretch): Promise<ArchiveOutcome> {
    try {
      return await this.follow(first, stretch);
    } catch (error) {
      if (!isSlotLost(error)) throw error;
      this.ctx.log.warn({ slot: this.slot, cause: String(error) }, 'the slot was invalidated: a new one is made');
    }
    const connection = await ReplicationConnection.open(this.site, this.ctx);
    try {
      await renewSlot(connection, this.slot, this.ctx);
      return await this.follow(connection, stretch);
    } finally {
      await connection.close();
    }
  }

  private async follow(connection: ReplicationConnection, stretch: Stretch): Promise<ArchiveOutcome> {
    this.coversUntil = await this.coveredOf(stretch.lineage);
    const heartbeat = await Heartbeat.start(this.site, this.coversUntil, this.ctx);
    try {
      const durable = await this.stream(connection, stretch, { slot: this.slot, heartbeat, until: 'the deadline' });
      return this.outcome(stretch.lineage, durable, null);
    } finally {
      await heartbeat.stop();
    }
  }

  private async coveredOf(lineage: string): Promise<string | null> {
    const last = (await this.archive.entries(lineage)).at(-1);
    return last ? (await this.archive.resolve(last)).coversUntil : null;
  }

  /**
   * Only a new full backup can be restored to instants behind the gap: it is told of first. Once that backup is on its way
   * the log goes on with what the server still has, at the same place: the slot keeps it.
   */
  private async afterGap(lost: Stretch): Promise<ArchiveOutcome> {
    const connection = await ReplicationConnection.open(this.site, this.ctx);
    try {
      const kept = () => begin(connection, this.slot, lost.lineage, lost.timeline, this.segmentBytes);
      // A position that was confirmed just before its WAL was removed has put the slot back there.
      if ((await kept()).from <= lost.from) await renewSlot(connection, this.slot, this.ctx);
      const stretch = await kept();
      const gap = `WAL from ${formatLsn(lost.durable)} to ${formatLsn(stretch.from)} of ${lost.lineage} is gone from the server`;
      return this.isNews(gap) ? this.told(lost, gap) : await this.follow(connection, stretch);
    } finally {
      await connection.close();
    }
  }

  /** Stores a stretch until it ends or our time is over; answers what is durable. */
  private async stream(
    connection: ReplicationConnection,
    stretch: Stretch,
    { slot, heartbeat, until }: StreamOptions,
  ): Promise<bigint> {
    const collector = new WalCollector(stretch.from, this.segmentBytes);
    const { timeline, durable } = stretch;
    const stream = await this.started(connection, collector, { slot, timeline, durable });
    const writer = new PieceWriter(this.archive, stretch, this.segmentBytes, this.ctx.log);
    const state = { over: false };
    const ended = stream.ended.then(
      () => (state.over = true),
      (error: unknown) => {
        state.over = true;
        throw error;
      },
    );
    ended.catch(() => undefined); // awaited below, after what was received is stored
    // The rest of an ended timeline is stored whole: nobody would come back for it once its successor has pieces.
    const goesOn = () => !this.ctx.signal.aborted && (until === 'its end' || Date.now() < this.deadline);
    // At least once: a short round after a long start would never come any further.
    do {
      await stream.waitForSegment(this.request.sliceMilliseconds);
      await this.storeReceived(collector, writer, stream, heartbeat, goesOn);
    } while (!state.over && goesOn());
    this.ctx.signal.throwIfAborted();
    if (state.over) await ended;
    await this.storeReceived(collector, writer, stream, heartbeat, () => state.over);
    return writer.durable;
  }

  /** Stores what is there, as long as the caller goes on: a server that writes faster than we store always has more. */
  private async storeReceived(
    collector: WalCollector,
    writer: PieceWriter,
    stream: WalStream,
    heartbeat: Heartbeat | null,
    goesOn: () => boolean,
  ): Promise<void> {
    for (;;) {
      const part = collector.takeSegment() ?? collector.current();
      if (part.end <= writer.durable && !part.whole) break;
      const coversUntil = heartbeat ? heartbeat.coveredBy(part.end) : this.coversUntil;
      await writer.store(part, coversUntil);
      if (part.whole) collector.release(part);
      this.entriesStored += 1;
      this.coversUntil = coversUntil;
      stream.confirm(writer.durable);
      this.onDurable({ durable: writer.position(), coversUntil, entriesStored: this.entriesStored });
      this.ctx.progress({ phase: 'archiving WAL', note: formatLsn(writer.durable), doneItems: this.entriesStored });
      if (!part.whole || !goesOn()) break;
    }
  }

  /** Starts streaming; waits for a slot that a killed predecessor still holds. */
  private async started(
    connection: ReplicationConnection,
    collector: WalCollector,
    options: { slot: string | null; timeline: number; durable: bigint },
  ): Promise<WalStream> {
    const deadline = Date.now() + SLOT_BUSY_MILLISECONDS;
    for (;;) {
      const stream = new WalStream(connection, collector, options);
      const early = await Promise.race([
        stream.ended.then(
          () => null,
          (error: unknown) => error,
        ),
        connection.replicationStarted().then(() => null),
      ]);
      if (!isSlotBusy(early)) return stream;
      if (Date.now() > deadline) {
        throw failure('LockHeld', `the replication slot ${this.slot} is used by another archiver`, { cause: early });
      }
      await sleep(200, undefined, { signal: this.ctx.signal });
    }
  }
}
