import type { Application } from './application';
import {
  approvalOf,
  at,
  duration,
  engineOf,
  group,
  leadingMembers,
  onlyWhere,
  type PlanDetails,
  type PlannedGroup,
  type PlannedStep,
  type Planning,
  promoting,
  replicatedStores,
  type RoleChangePlan,
  seeingFiles,
  step,
  whole,
} from './role-change-plan';
import { ending, hooked, serving } from './plan-serving';
import { roleChangeSteps } from './role-change-steps';

/**
 * The runbook of an unplanned failover for this application: the steps that `workflows/fail-over.ts` runs, in its order
 * and under its names (`test/workflows/fail-over.test.ts` holds the two together).
 */
export function planFailover(
  app: Application,
  { fromSite, toSite, epoch }: { readonly fromSite: string; readonly toSite: string; readonly epoch: number },
  details: PlanDetails | null,
): RoleChangePlan {
  const planning: Planning = { app, stores: replicatedStores(app), fromSite, toSite, epoch, details };
  return whole(planning, 'failover', [
    ...deciding(planning),
    ...fencing(planning),
    ...hooked(planning, 'failover', 'after', 'fence'),
    group('catching up', catchingUp(planning)),
    ...hooked(planning, 'failover', 'before', 'promotion'),
    group('promoting', [...promoting(planning), ...seeingFiles(planning)], { pivot: true }),
    group('promoting', [holding(planning)]),
    ...hooked(planning, 'failover', 'after', 'promotion'),
    ...serving(planning, 'failover'),
    group('making standbys', leadingMembers(planning)),
    ...ending(planning, 'Failover'),
  ]);
}

function deciding({ app, stores, fromSite, toSite, details }: Planning): PlannedGroup[] {
  const standbys = stores.map((store) => `${store}${at(details, store, toSite)}`).join(', ');
  return [
    group('confirming', [
      step(
        roleChangeSteps.confirm(app, fromSite),
        `asks every server of ${fromSite} and every endpoint at its own address; a site that is healthy ends the run`,
      ),
    ]),
    group('confirming', [
      step(
        roleChangeSteps.standbys(toSite),
        `asks ${standbys || 'no store'}; one that does not answer ends the run; again after the approval, where people decide then`,
      ),
    ]),
    group('confirming', [
      step(
        roleChangeSteps.assess(),
        `bounds the loss of every store by the samples kept at ${toSite} and what its standby has now`,
      ),
    ]),
    group(
      'waiting for approval',
      [
        step(
          roleChangeSteps.lookAgain(fromSite),
          'one more look: a site that has recovered ends the run; notes what still serves there, for the undo',
        ),
      ],
      { waitsFor: approvalOf(app) },
    ),
  ];
}

function fencing(planning: Planning): PlannedGroup[] {
  const { app, stores, fromSite, epoch, details } = planning;
  const siteFence =
    details === null
      ? 'by the fence of the config'
      : details.siteFence === null
        ? 'none is configured: only a store of its own or a person can prove that it cannot write'
        : `by the ${details.siteFence} of the config: kills what writes, sees it gone, keeps it down`;
  const proof = step(
    roleChangeSteps.evidence(fromSite),
    `lasts until every store is proven to refuse writes or an approver attests it; nothing is promoted without`,
    roleChangeSteps.undoAtWork(fromSite),
  );
  return [
    group('fencing', [
      step(
        roleChangeSteps.epoch(),
        `creates epoch ${epoch + 1} of ${app.name} in the control repository, where only one run can`,
        roleChangeSteps.undoEpoch(fromSite),
      ),
    ]),
    ...hooked(planning, 'failover', 'before', 'fence'),
    group('fencing', [proof]),
    group('fencing', [step(roleChangeSteps.fenceSite(fromSite), siteFence, roleChangeSteps.undoFenceSite(fromSite))], {
      within: proof.id,
    }),
    group(
      'fencing',
      [
        ...stores.map((store) =>
          step(
            roleChangeSteps.fenceStore(store, fromSite),
            `by ${engineOf(app, store)}'s own means${at(details, store, fromSite)}`,
            roleChangeSteps.undoFenceStore(store, fromSite),
          ),
        ),
        ...app.serviceGroups.flatMap(({ services }) => services.map(({ name }) => stopping(name, fromSite))),
      ],
      { within: proof.id },
    ),
  ];
}

function stopping(service: string, fromSite: string): PlannedStep {
  return step(
    roleChangeSteps.stopService(service, fromSite),
    'scales it to nothing and keeps its size for the undo; where it is out of reach for 10 s people are told, and nothing waits',
    roleChangeSteps.undoStopService(service, fromSite),
  );
}

function catchingUp({ app, toSite, details }: Planning): PlannedStep[] {
  return app.stores
    .filter(({ catchesUp }) => catchesUp)
    .map(({ name, engine }) =>
      step(
        roleChangeSteps.catchUp(name, toSite),
        `looks up to where its log is archived; what ${engine}${at(details, name, toSite)} has not of that is streamed to it by ` +
          `the worker, and seen replayed, within ${duration(app.failover.catchUpSeconds)}; then a person decides`,
        roleChangeSteps.undoCatchUp(name, toSite),
      ),
    );
}

function holding({ fromSite }: Planning): PlannedStep {
  return onlyWhere(
    "somebody's word alone says that an old primary is dead",
    step(
      roleChangeSteps.holdFence(fromSite),
      `starts a run that asks those stores at ${fromSite} until each was seen to refuse writes, and tells people; does not wait for it`,
    ),
  );
}
