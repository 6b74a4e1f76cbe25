import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import type { RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import type { RestoredStore } from '../../../core/recovery';
import { type Account, freePort } from '../restore-host';
import { advance, newTry, writeMarker } from '../restore-marker';
import type { RestoredServer } from '../restored-server';
import type { BackupDetail } from './dump';
import { ArchivedLog } from './log-chain';
import { parseLsn, timelineOf } from './lsn';
import { isInclusive } from './recovery-target';
import { serverOf } from './restored-server';
import { type ReplayState, ReplayWatch } from './replay-watch';
import { restored } from './restored-state';
import { writeServerConfig } from './restore-config';
import { type Marker, ownerOf, pathsOf, type PlacePaths, readMarker } from './restore-place';
import { findTool } from './tools';
import { intact } from './timeline-history';
import { endFeed, type FetchSegment, WalFeed } from './wal-feed';
import { fetchSegment, segmentsOf } from './wal-fetch';

/** The server reports every 5 s while it replays; this long without a word or a step it hangs. */
const STALL_MILLISECONDS = 180_000;
/**
 * xlogrecovery.c recoveryPausesHere: without hot standby there is no pause, and hot standby waits for the end of a transaction
 * whose subtransactions were too many to be listed when the backup began.
 */
const OPENED_BY_ITSELF =
  'PostgreSQL opened it by itself at the target, on a timeline of its own: a transaction with more than 64 subtransactions ' +
  '(savepoints) was under way there, and before its end a server cannot be read while it waits.';
/** Replays to the target and leaves the server paused there, readable (open, where PostgreSQL cannot pause); see core/engine.ts `Restore.replay`. */
export async function replay(
  request: RestoreRequest,
  log: LogArchive | null,
  toolsDirectory: string | undefined,
  ctx: CallContext,
): Promise<RestoredStore> {
  const paths = pathsOf(request.place.directory);
  const marker = await ownMarker(paths, request);
  if (marker.phase === 'replayed' || marker.phase === 'open') {
    if ((await serverOf(paths).pid()) !== null) return restored(paths, marker);
  }
  const owner = await ownerOf(request.place);
  const detail = (request.chain.at(-1) as Manifest).detail as BackupDetail;
  const program = await findTool('postgres', detail.majorVersion, toolsDirectory);
  let current: Marker = { ...marker, tryId: newTry(), phase: marker.phase === 'open' ? 'open' : 'replaying' };
  await writeMarker(paths.root, current);
  const recovery = current.phase === 'open' ? null : request.plan;
  const lineage = request.plan.lineage ?? '';
  // A server that was opened needs no log any more: it is only started again.
  const feed = current.phase === 'open' ? null : await feedOf(request, log, paths, owner, ctx);
  await feed?.start(owner, { waits: (await serverOf(paths).pid()) !== null });
  const server = new Replay(paths, owner, program, { detail, recovery, lineage, host: request.place.host, feed }, ctx);
  try {
    current = await server.run(current, () => freePort(request.place.host, request.place.port));
  } catch (error) {
    if (feed?.isHopeless()) await serverOf(paths).stop(); // nobody will bring what it waits for
    throw error;
  } finally {
    await feed?.stop();
  }
  if (feed) await endFeed(paths.wal, owner);
  const done = restored(paths, await advance(paths.root, current));
  return recovery && done.state === 'open' ? { ...done, notes: [...done.notes, OPENED_BY_ITSELF] } : done;
}

/** Brings the part of the archived log that the plan names. Throws LogGap unless all of it is archived. */
async function feedOf(
  request: RestoreRequest,
  log: LogArchive | null,
  paths: PlacePaths,
  owner: Account,
  ctx: CallContext,
): Promise<WalFeed> {
  const { plan, chain } = request;
  const newest = chain.at(-1) as Manifest;
  if (!log) {
    throw failure('PitrTargetUnreachable', `${newest.store} has no archived log: its backups cannot become consistent`);
  }
  const planned = async () => {
    const archived = await ArchivedLog.read(log);
    const found = plan.lineage === null ? null : archived.chainFrom(newest, plan.lineage);
    const end = plan.log?.to ?? null;
    const last = end === null ? -1 : found?.endingAt(parseLsn(end.value), timelineOf(end.lineage));
    // Compaction may have replaced slices since the plan was made, so that the end is searched for and not counted.
    if (!found || last === undefined || last === -1) {
      throw failure(
        'LogGap',
        `the log of ${newest.store} that the plan needs, up to ${end?.value ?? 'its end'}, is not complete`,
        { next: 'Plan the restore again: `drctl restore … --dry-run` shows what can be reached now.' },
      );
    }
    return segmentsOf(found.entries.slice(0, last + 1));
  };
  const fetch: FetchSegment = async (segment, file, call) => {
    try {
      await fetchSegment(segment, file, log, owner, call);
    } catch (error) {
      call.signal.throwIfAborted();
      // The archiver goes on meanwhile: a slice that was listed may have given way to its segment before it was read.
      call.log.warn({ error: String(error) }, 'the log is listed again after a piece of it could not be read');
      const again = (await planned()).find(({ name }) => name === segment.name);
      if (!again) throw error;
      await fetchSegment(again, file, log, owner, call);
    }
  };
  const system = `${newest.identity}-`;
  const histories = [...(await log.history())].filter(([key]) => key.startsWith(system));
  const byName = new Map(histories.map(([key, bytes]) => [key.slice(system.length), intact(bytes)]));
  const { segmentBytes } = newest.detail as BackupDetail;
  return new WalFeed(paths.wal, segmentBytes, { segments: await planned(), histories: byName }, fetch, ctx);
}

interface ReplayConfig {
  readonly detail: BackupDetail;
  /** Null for a server that was opened before. */
  readonly recovery: RestoreRequest['plan'] | null;
  readonly lineage: string;
  readonly host: string;
  /** Null for a server that was opened before. */
  readonly feed: WalFeed | null;
}

class Replay {
  private readonly paths: PlacePaths;
  private readonly owner: Account;
  private readonly server: RestoredServer;
  private readonly program: string;
  private readonly config: ReplayConfig;
  private readonly ctx: CallContext;
  private raised: Record<string, string> = {};

  constructor(paths: PlacePaths, owner: Account, program: string, config: ReplayConfig, ctx: CallContext) {
    this.paths = paths;
    this.owner = owner;
    this.server = serverOf(paths);
    this.program = program;
    this.config = config;
    this.ctx = ctx;
  }

  /** Starts the server unless it runs, and waits for the target. Restarts it where the source had raised a setting. */
  async run(marker: Marker, takePort: () => Promise<number>): Promise<Marker> {
    for (let attempt = 1; ; attempt += 1) {
      // A port that was free when the place was made may be taken by now.
      const port = attempt === 1 && marker.port !== 0 ? marker.port : await takePort();
      const current = { ...marker, port };
      const running = (await this.server.pid()) !== null;
      const from = running ? 0 : await this.server.logBytes();
      if (!running) await this.start(current);
      await advance(this.paths.root, current);
      const outcome = await this.wait(current, from);
      if (typeof outcome !== 'string') return outcome;
      if (attempt >= 5 || !this.canMend(outcome)) throw this.explain(outcome);
      await this.server.stop();
    }
  }

  private async start(marker: Marker): Promise<void> {
    const { detail, recovery, host } = this.config;
    await writeServerConfig(this.paths, { host, port: marker.port, detail, raised: this.raised, recovery }, this.owner);
    const argv = ['-D', this.paths.data, '-c', `config_file=${this.paths.config}`];
    await this.server.start({ program: this.program, argv, account: this.owner });
  }

  /** The new marker at the target, or what the server said when it gave up. Aborted, the server goes on without us. */
  private async wait(marker: Marker, from: number): Promise<Marker | string> {
    const watch = new ReplayWatch(this.paths, marker);
    try {
      return await this.untilThere(watch, marker, from);
    } finally {
      await watch.end();
    }
  }

  private untilThere(watch: ReplayWatch, marker: Marker, from: number): Promise<Marker | string> {
    const there = (phase: Marker['phase'], state: ReplayState) => ({
      ready: { ...marker, phase, ...reached(marker, state, this.config) },
    });
    return this.server.whenReady<Marker | string>(
      {
        look: async () => {
          const { feed } = this.config;
          feed?.check();
          const state = await watch.look();
          // Also where it was to pause: recovery ends by itself at a target before which nobody could read.
          if (state && !state.inRecovery) return there('open', state);
          if (state?.paused) {
            const words = await this.server.logTail(from);
            return /insufficient parameter settings/.test(words) ? { ready: words } : there('replayed', state);
          }
          const fetched = feed?.progress();
          this.ctx.progress({ phase: 'replaying WAL', note: state?.lsn ?? 'until consistent', ...fetched });
          const words = state?.lsn ?? `log of ${await this.server.logBytes()} bytes`;
          return { waiting: `${words}, ${fetched?.doneItems}` };
        },
        patienceMilliseconds: STALL_MILLISECONDS,
        ended: async (reason) => `${await this.server.logTail(from)}\n(${reason})`,
        stuck: () =>
          failure(
            'BackupIncomplete',
            `the restored server in ${this.paths.root} has not replayed anything for ${STALL_MILLISECONDS / 1_000} s`,
            {
              data: 'The source was not touched.',
              next: `Read ${this.paths.log}; a repeat of the step starts the replay again.`,
            },
          ),
      },
      this.ctx,
    );
  }

  /** Takes over a setting that the source had raised while the log was written. */
  private canMend(words: string): boolean {
    let mended = false;
    for (const match of words.matchAll(
      /(\w+) = \d+ is a lower setting than on the primary server, where its value was (\d+)/g,
    )) {
      this.raised = { ...this.raised, [match[1] as string]: match[2] as string };
      mended = true;
    }
    return mended || /could not bind IPv[46] address/.test(words);
  }

  private explain(words: string): Error {
    const said =
      words
        .split('\n')
        .filter((line) => /FATAL|ERROR|PANIC|HINT/.test(line))
        .slice(-4)
        .join(' | ') || words.slice(-600);
    if (/recovery ended before configured recovery target was reached/.test(words)) {
      return failure('PitrTargetUnreachable', `the archived log ends before the target: ${said}`);
    }
    if (/drctl has not fetched/.test(words)) {
      return failure('BackupIncomplete', `the log did not come while nobody fetched it: ${said}`, {
        next: 'Repeat the step: the replay goes on where it ended.',
      });
    }
    if (/could not restore file/.test(words)) {
      return failure('DiskFull', `the restored server could not copy a WAL segment: ${said}`, {
        next: `Look at the space below ${this.paths.root}.`,
      });
    }
    return failure('BackupIncomplete', `the restored server in ${this.paths.root} ended: ${said}`, {
      data: 'The source was not touched; the backup is as it was.',
      next: `Read ${this.paths.log}.`,
    });
  }
}

function reached(
  marker: Marker,
  state: ReplayState,
  { lineage, recovery }: ReplayConfig,
): Pick<Marker, 'reachedPosition' | 'reachedTime'> {
  // A server that stops after a record by its LSN does not count that record's own commit in what it says (xlogrecovery.c,
  // recoveryStopsAfter): the plan has read when it was.
  const { target, reaches } = recovery ?? {};
  const stopsAfter = target && (target.kind === 'latest' || (target.kind === 'position' && isInclusive(target)));
  const times = [state.at, stopsAfter && reaches ? new Date(reaches.time) : null].filter((each) => each !== null);
  const newest = times.toSorted((a, b) => a.getTime() - b.getTime()).at(-1);
  return {
    reachedPosition: state.lsn === null ? marker.reachedPosition : { lineage, value: state.lsn },
    reachedTime: newest?.toISOString() ?? marker.reachedTime,
  };
}

/** The marker of this very restore. Throws TargetNotEmpty for anybody else's place. */
export async function ownMarker(paths: PlacePaths, request: RestoreRequest): Promise<Marker> {
  const marker = await readMarker(paths.root);
  if (marker?.restoreId !== request.restoreId || marker.phase === 'rebuilding') {
    throw failure('TargetNotEmpty', `${paths.root} was not rebuilt by the restore ${request.restoreId}`, {
      next: 'Run the rebuild step of this restore first.',
    });
  }
  return marker;
}
