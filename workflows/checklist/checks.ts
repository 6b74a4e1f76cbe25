import { executeChild, workflowInfo } from '@temporalio/workflow';
import type { CheckName, ChecklistPeriod, Finding } from '../../core/checklist';
import {
  type DiskSpace,
  judgeBackups,
  judgeCapacity,
  judgeDrill,
  judgeDrSite,
  judgeNetwork,
  judgeObjectives,
  judgeProofs,
  judgeReadinessReport,
  judgeReplication,
} from '../../core/checklist-judgements';
import { reasonOf } from '../../core/errors';
import { workflowIds } from '../../core/names';
import type { checkReadiness } from '../check-readiness';
import { anywhere, lookingFrom } from '../proxies';
import { wasCancelled } from '../step-table';

/** What several checks ask for is asked for once a round, when the first of them wants it. */
export function newRound(application: string, period: ChecklistPeriod, number: number) {
  const repository = anywhere(application);
  return {
    period,
    health: once(() => repository.checkStores({ application })),
    readiness: once(() =>
      executeChild<typeof checkReadiness>('checkReadiness', {
        workflowId: workflowIds.readiness(application, `${workflowInfo().runId}-${number}`),
        args: [{ application, requestedBy: `${period} checklist`, tell: false }],
      }),
    ),
    proofs: once(() => repository.newestProofs({ application })),
    stored: once(() => repository.measureStored({ application })),
    disks: once(() => disksOfAllSites(application)),
    drill: once(() => repository.newestReport({ application, kind: 'drill' })),
    report: once(() => repository.newestReport({ application, kind: 'readiness' })),
  };
}

type Round = ReturnType<typeof newRound>;

/** How each check is done: by asking what drctl finds out anyway, and a judgement of `core/checklist-judgements.ts`. */
export const CHECKS: Readonly<Record<CheckName, (round: Round) => Promise<Finding>>> = {
  backups: async ({ health }) => judgeBackups(await health()),
  'read-proofs': async ({ proofs, period }) => judgeProofs(await proofs(), 'full', period, now()),
  'restore-proofs': async ({ proofs, period }) => judgeProofs(await proofs(), 'restore', period, now()),
  objectives: async ({ proofs }) => judgeObjectives(await proofs()),
  capacity: async ({ stored, disks }) => judgeCapacity(await stored(), await disks()),
  replication: async ({ readiness }) => judgeReplication(await readiness()),
  'dr-site': async ({ readiness }) => judgeDrSite(await readiness()),
  'dr-network': async ({ readiness }) => judgeNetwork(await readiness()),
  drill: async ({ drill }) => judgeDrill(await drill(), now()),
  'readiness-report': async ({ report }) => judgeReadinessReport(await report(), now()),
};

/** A check that cannot be made has found that: what is not seen is not known to be well. */
export async function lookAt(check: CheckName, round: Round): Promise<Finding> {
  try {
    return await CHECKS[check](round);
  } catch (error) {
    if (wasCancelled(error)) throw error;
    return { holds: false, found: `it could not be looked at: ${reasonOf(error)}` };
  }
}

/** A site whose worker does not answer hides no other's disks. */
export async function disksOfAllSites(application: string): Promise<(DiskSpace | Finding)[]> {
  const { application: described } = await anywhere(application).describeApplication({ application });
  const looks = described.sites.map(async (site) => {
    try {
      return await lookingFrom(application, site).measureDisks({ application, site });
    } catch (error) {
      if (wasCancelled(error)) throw error;
      return [{ holds: false, found: `the disks at ${site} cannot be seen: ${reasonOf(error)}` }];
    }
  });
  return (await Promise.all(looks)).flat();
}

const now = () => new Date().toISOString();

function once<T>(ask: () => Promise<T>): () => Promise<T> {
  let asked: Promise<T> | null = null;
  return () => (asked ??= ask());
}
