import type { CallContext } from '../core/call';
import type { ArchiveOutcome, ArchiveProgress, Engine } from '../core/engine';
import { failure } from '../core/errors';
import type { Position } from '../core/positions';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';

export interface ArchiveLogActivityInput {
  readonly application: string;
  readonly store: string;
  readonly site: string;
  readonly epoch: number;
  readonly runForMilliseconds: number;
  readonly sliceMilliseconds: number;
  /** Gaps that a new base was started for: the log goes on behind them. */
  readonly answeredGaps?: readonly string[];
}

export function createArchiveActivities(deps: ActivityDeps) {
  return {
    /**
     * Follows the store's log for a while. It resumes at what is durable in the repository, so that a worker killed at any
     * moment leaves no gap; the newest durable position is in the heartbeat for people to see.
     */
    async archiveLog(input: ArchiveLogActivityInput): Promise<ArchiveOutcome> {
      return withCallContext<ArchiveOutcome, Position>(async (ctx, resume) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const engine = open.engine(input.store);
        const archive = open.logArchive(input.store);
        if (!engine.log || !archive) {
          throw failure('UsageInvalid', `store ${input.store} has no log to archive: its engine is ${engine.kind}`);
        }
        const report = (progress: ArchiveProgress) => {
          resume.keep(progress.durable);
          ctx.progress({
            phase: 'archiving the log',
            doneItems: progress.entriesStored,
            note: `durable to ${engine.positions.format(progress.durable)}, ${progress.coversUntil ?? 'time unknown'}`,
          });
        };
        const { site, runForMilliseconds, sliceMilliseconds, answeredGaps = [] } = input;
        const request = { site, runForMilliseconds, sliceMilliseconds, answeredGaps };
        const released = releaseFollowers(open, engine, site, ctx);
        try {
          return await engine.log.archive(request, archive, report, ctx);
        } finally {
          await released;
        }
      });
    },
  };
}

/**
 * Lets go what an archiver of an earlier role change holds at a site that now follows this one: nobody reads that log any
 * more, and a slot would keep it there until the disk is full. A primary that was lost keeps it until then, because
 * rewinding it needs its log back to where the histories part. Beside the archiving and never instead of it: what fails
 * here is said and tried again in the next round.
 */
async function releaseFollowers(
  { application }: OpenApplication,
  engine: Engine,
  activeSite: string,
  ctx: CallContext,
): Promise<void> {
  for (const site of application.sites.filter((each) => each !== activeSite)) {
    try {
      if ((await engine.probe(site, ctx)).role === 'replica') await engine.log?.release(site, ctx);
    } catch (error) {
      ctx.log.info({ store: engine.store, site, error: String(error) }, 'nothing was let go there');
    }
  }
}
