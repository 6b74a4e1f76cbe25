import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import { hasCode } from '../../../core/errors';
import { absent } from '../../filesystem/absent';
import type { Account } from '../restore-host';
import { EXPECTED, HISTORY, SCRIPT, SCRIPT_TEXT, WANTED } from './restore-command';
import { writeOwned } from './restore-config';
import { makeDirectory } from './unpack';
import type { WalSegment } from './wal-fetch';

/** Fetched at once, and how much at most lies ahead of the replay. */
const PARALLEL_SEGMENTS = 4;
const WINDOW_BYTES = 2 ** 30;
const FEWEST_AHEAD = 8;
/**
 * With so many ahead one at a time is enough. Replay is one process: each thread that unpacks beside it may take its core
 * (measured on two cores: a third of the replay was spent in the queue for one, and 2 % waiting for log).
 */
const ENOUGH_AHEAD = 8;
/** Replay takes 10 ms and more for a segment, and the window holds many; the next fetch waits for none of these looks. */
const LOOK_MILLISECONDS = 50;

export interface FeedPlan {
  /** In the order of replay, no name twice. */
  readonly segments: readonly WalSegment[];
  /** By name (`00000002.history`): every one of the cluster, so that the server takes a timeline that nobody had. */
  readonly histories: ReadonlyMap<string, Buffer>;
}

/** Stores a segment whole, under a temporary name until then. */
export type FetchSegment = (segment: WalSegment, file: string, ctx: CallContext) => Promise<void>;

/**
 * Brings the log to a server while it replays: always a bounded stretch ahead of it, several segments at once, so that the
 * server does not wait for the network. All it knows lies in the folder: another worker takes over where one was killed.
 */
export class WalFeed {
  private readonly folder: string;
  private readonly plan: FeedPlan;
  private readonly fetch: FetchSegment;
  private readonly ctx: CallContext;
  private readonly ahead: number;
  private readonly stopping = new AbortController();
  private readonly inFlight = new Map<number, Promise<void>>();
  /** Segments that lay in the folder when it was last looked at. */
  private present = new Set<number>();
  /** Come since the folder was last looked at. */
  private readonly landed = new Set<number>();
  private next = 0;
  private failure: unknown = null;
  private running: Promise<void> = Promise.resolve();

  constructor(folder: string, segmentBytes: number, plan: FeedPlan, fetch: FetchSegment, ctx: CallContext) {
    this.folder = folder;
    this.plan = plan;
    this.fetch = fetch;
    this.ctx = { ...ctx, signal: AbortSignal.any([ctx.signal, this.stopping.signal]) };
    this.ahead = Math.max(FEWEST_AHEAD, Math.floor(WINDOW_BYTES / segmentBytes));
  }

  /**
   * Says what will come and begins to fetch it. Resolves when a server may be started, long before everything is there.
   * `waits`: one runs already, and may wait for what an earlier worker did not bring.
   */
  async start(owner: Account, { waits }: { readonly waits: boolean }): Promise<void> {
    const history = path.join(this.folder, HISTORY);
    for (const folder of [this.folder, history]) await makeDirectory(folder, owner);
    for (const [name, bytes] of this.plan.histories) {
      await writeOwned(path.join(history, name), bytes.toString('utf8'), owner);
    }
    await writeOwned(path.join(this.folder, SCRIPT), SCRIPT_TEXT, owner);
    const names = this.plan.segments.map(({ name }) => `${name}\n`);
    await writeOwned(path.join(this.folder, EXPECTED), names.join(''), owner);
    if (!waits) await fs.rm(path.join(this.folder, WANTED), { force: true });
    this.running = this.run().catch((error: unknown) => {
      this.failure ??= error;
    });
  }

  /** Segments that the server has taken, of how many. */
  progress(): { readonly doneItems: number; readonly totalItems: number } {
    return { doneItems: this.next, totalItems: this.plan.segments.length };
  }

  /** Throws why a segment could not be fetched; the server then waits for one that comes after us. */
  check(): void {
    if (this.failure !== null) throw this.failure;
  }

  /** Whether a repeat cannot help: the server must then not wait for one. */
  isHopeless(): boolean {
    return hasCode(this.failure, 'BackupCorrupt') || hasCode(this.failure, 'LogGap');
  }

  /** Ends the fetching; what is there stays. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private async run(): Promise<void> {
    const indexOf = new Map(this.plan.segments.map(({ name }, index) => [name, index]));
    try {
      while (!this.ctx.signal.aborted && this.failure === null) {
        await this.look(indexOf);
        this.fill();
        await sleep(LOOK_MILLISECONDS);
      }
    } finally {
      await Promise.allSettled(this.inFlight.values());
    }
  }

  /** What the server has taken since, and what it waits for. */
  private async look(indexOf: ReadonlyMap<string, number>): Promise<void> {
    const wanted = await fs.readFile(path.join(this.folder, WANTED), 'utf8').catch(absent);
    this.landed.clear();
    const lying = (await fs.readdir(this.folder)).flatMap((name) => indexOf.get(name) ?? []);
    const now = new Set([...lying, ...this.landed]);
    for (const index of this.present) if (!now.has(index) && index >= this.next) this.next = index + 1;
    this.present = now;
    // Asked for again, by a server that was started again: it will want what follows, too.
    const index = wanted === null ? undefined : indexOf.get(wanted.trim());
    if (index !== undefined && !now.has(index)) this.next = index;
  }

  private fill(): void {
    if (this.ctx.signal.aborted || this.failure !== null) return;
    const end = Math.min(this.plan.segments.length, this.next + this.ahead);
    const lying = [...this.present].filter((index) => index >= this.next).length;
    const lanes = lying < ENOUGH_AHEAD ? PARALLEL_SEGMENTS : 1;
    for (let index = this.next; index < end && this.inFlight.size < lanes; index += 1) {
      if (this.present.has(index) || this.inFlight.has(index)) continue;
      const fetched = this.fetchOne(index).finally(() => {
        this.inFlight.delete(index);
        this.fill();
      });
      this.inFlight.set(index, fetched);
    }
  }

  private async fetchOne(index: number): Promise<void> {
    const segment = this.plan.segments[index] as WalSegment;
    try {
      await this.fetch(segment, path.join(this.folder, segment.name), this.ctx);
      // Taken before the next look, or not seen by the one that is under way, it would be fetched again.
      this.present.add(index);
      this.landed.add(index);
    } catch (error) {
      this.failure ??= error;
    }
  }
}

/**
 * At the target: from here on the server finds what it asks for in its own pg_wal, where whatever it took lies. It does ask
 * when it opens, for the segment of the last record.
 */
export async function endFeed(folder: string, owner: Account): Promise<void> {
  await writeOwned(path.join(folder, EXPECTED), '', owner);
}
