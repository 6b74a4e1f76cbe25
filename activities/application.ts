import type { Application } from '../core/application';
import { failure } from '../core/errors';
import type { EpochRecord } from '../core/epoch';
import type { ActivityDeps, OpenApplication } from './deps';

export interface ApplicationState {
  readonly application: Application;
  readonly activeSite: string;
  readonly epoch: number;
}

/** Which application this is and which site is active now, by the authority for the epoch. */
export function createApplicationActivities(deps: ActivityDeps) {
  return {
    async describeApplication(input: { application: string }): Promise<ApplicationState> {
      const open = deps.open(input.application);
      const current = await open.epochs.current();
      return {
        application: open.application,
        activeSite: current?.activeSite ?? open.application.initialSite,
        epoch: current?.epoch ?? 0,
      };
    },

    /** Takes the next epoch for a role change. From here on, steps of older epochs refuse. */
    async takeEpoch(input: { application: string; record: EpochRecord }): Promise<EpochRecord> {
      return deps.open(input.application).epochs.take(input.record);
    },

    /**
     * Makes `toSite` active again where this run had made another one so; does nothing where it had not. Epochs are never
     * taken back, so this is a further one.
     */
    async giveBackEpoch(input: {
      application: string;
      toSite: string;
      reason: string;
      workflowId: string;
      runId: string;
    }): Promise<EpochRecord | null> {
      const { epochs } = deps.open(input.application);
      const current = await epochs.current();
      if (!current || current.runId !== input.runId || current.activeSite === input.toSite) return null;
      const { toSite, reason, workflowId, runId } = input;
      return epochs.take({
        epoch: current.epoch + 1,
        activeSite: toSite,
        previousSite: current.activeSite,
        takenAt: new Date().toISOString(),
        reason,
        workflowId,
        runId,
        approvedBy: current.approvedBy,
      });
    },
  };
}

/** Rule 1: a mutating step of an old epoch must refuse. Throws StaleEpoch naming the newer role change. */
export async function requireEpoch(open: OpenApplication, epoch: number): Promise<void> {
  const current = await open.epochs.current();
  if ((current?.epoch ?? 0) !== epoch) {
    throw failure(
      'StaleEpoch',
      `epoch ${epoch} of ${open.application.name} is over: ${current?.workflowId ?? 'nobody'} holds epoch ${current?.epoch ?? 0}`,
    );
  }
}
