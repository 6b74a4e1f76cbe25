import type { ArchiveOutcome, ArchiveProgress } from '../core/engine';
import { failure } from '../core/errors';
import type { Position } from '../core/positions';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export interface ArchiveLogActivityInput {
  readonly application: string;
  readonly store: string;
  readonly site: string;
  readonly epoch: number;
  readonly runForMilliseconds: number;
  readonly sliceMilliseconds: number;
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
        const { site, runForMilliseconds, sliceMilliseconds } = input;
        return engine.log.archive({ site, runForMilliseconds, sliceMilliseconds }, archive, report, ctx);
      });
    },

    /** Removes what an archiver left at a site that is no longer archived from. */
    async releaseLog(input: { application: string; store: string; site: string }): Promise<void> {
      await withCallContext(async (ctx) =>
        deps.open(input.application).engine(input.store).log?.release(input.site, ctx),
      );
    },
  };
}
