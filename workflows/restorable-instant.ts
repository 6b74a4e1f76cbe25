import type { StoreRestore } from '../activities/restore';
import type { RecoveryTarget, RestoredStore } from '../core/recovery';
import { type ChosenInstant, instantLine } from '../core/restorable-instant';
import { type HeartbeatFound, heartbeatLine, heartbeatProblem } from '../core/restored-heartbeat';
import { anywhere, restoringOn } from './proxies';
import type { StepTable } from './step-table';

/** What of a test of recovery chance decides: the instant, one for all of the stores. */
export async function chooseInstant(
  steps: StepTable,
  of: {
    readonly application: string;
    readonly stores: readonly string[];
    readonly seed: number;
    readonly copy?: string;
  },
): Promise<ChosenInstant> {
  const stores = of.stores.join(', ');
  return steps.run(
    `instant:${stores}`,
    `Choose by chance what ${stores} is restored to`,
    () => anywhere(of.application).chooseInstant(of),
    instantLine,
  );
}

export const targetAt = ({ time }: ChosenInstant): RecoveryTarget =>
  time === null ? { kind: 'latest' } : { kind: 'time', time };

/** The heartbeat in a copy that was restored to an instant, compared with what the archive noted; null where it has none. */
export async function compareHeartbeat(
  steps: StepTable,
  hostQueue: string,
  { application, store, plan, copy }: StoreRestore,
  restored: RestoredStore,
): Promise<{ readonly heartbeat: HeartbeatFound; readonly problem: string | null } | null> {
  const { target } = plan;
  if (target.kind !== 'time') return null;
  const from = copy === undefined ? {} : { copy };
  const heartbeat = await steps.run(
    `heartbeat:${store}`,
    `Compare the time that ${store} itself shows`,
    () => restoringOn(hostQueue).readHeartbeat({ application, store, plan, restored, ...from }),
    (found) => (found ? heartbeatLine(found) : 'it shows none'),
  );
  return heartbeat && { heartbeat, problem: heartbeatProblem(heartbeat, target.time) };
}
