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
import { roleChangeSteps, switchoverSteps } from './role-change-steps';

/**
 * The runbook of a planned move of this application: the steps that `workflows/switch-over.ts` runs, in its order and under
 * its names (`test/workflows/switch-over.test.ts` holds the two together).
 */
export function planSwitchover(
  app: Application,
  { fromSite, toSite, epoch }: { readonly fromSite: string; readonly toSite: string; readonly epoch: number },
  details: PlanDetails | null,
): RoleChangePlan {
  const planning: Planning = { app, stores: replicatedStores(app), fromSite, toSite, epoch, details };
  return whole(planning, 'switchover', [
    ...checking(planning),
    group('checking', loweringTtls(planning)),
    group('fencing', [takingEpoch(planning)], { waitsFor: approvalOf(app) }),
    ...hooked(planning, 'switchover', 'before', 'fence'),
    group('stopping services', stopping(planning)),
    group('handing over', handingOver(planning)),
    ...fencing(planning),
    ...hooked(planning, 'switchover', 'after', 'fence'),
    ...hooked(planning, 'switchover', 'before', 'promotion'),
    group('promoting', [...promoting(planning), ...seeingFiles(planning)], { pivot: true }),
    ...hooked(planning, 'switchover', 'after', 'promotion'),
    ...serving(planning, 'switchover'),
    group('making standbys', following(planning)),
    group('making standbys', leadingMembers(planning)),
    ...ending(planning, 'Switchover'),
  ]);
}

function checking({ app, stores, fromSite, toSite, details }: Planning): PlannedGroup[] {
  const { switchover } = app.failover;
  const standbys = stores.map((store) => `${store}${at(details, store, toSite)}`).join(', ');
  return [
    group('checking', [
      step(
        switchoverSteps.ready(fromSite, toSite),
        `asks every server and endpoint of ${fromSite}, and ${standbys || 'no store'} whether it is a standby; again after the ` +
          'approval; what is not healthy ends the run',
      ),
    ]),
    group('checking', [
      step(
        switchoverSteps.lag(app, toSite),
        `waits until each standby has what its primary had when it was asked; more than ${duration(switchover.maxLagSeconds)} ` +
          'ends the run; again after the approval',
      ),
    ]),
  ];
}

function loweringTtls({ app }: Planning): PlannedStep[] {
  const { lowerTtlToSeconds } = app.failover.switchover;
  if (lowerTtlToSeconds === null) return [];
  return app.dns.map((target) =>
    step(
      switchoverSteps.lowerTtl(target, lowerTtlToSeconds),
      `from ${duration(target.ttlSeconds)} in the config, so that caches let go while people decide; given back when the names ` +
        'have settled, or when nothing was moved',
    ),
  );
}

function takingEpoch({ app, fromSite, epoch }: Planning): PlannedStep {
  return step(
    roleChangeSteps.epoch(),
    `creates epoch ${epoch + 1} of ${app.name} in the control repository, where only one run can; from here to the promotion ` +
      `it may take ${duration(app.failover.switchover.withinSeconds)}, past which everything returns`,
    roleChangeSteps.undoEpoch(fromSite),
  );
}

function stopping({ app, fromSite }: Planning): PlannedStep[] {
  const services = app.serviceGroups.flatMap((each) => each.services);
  return services.map(({ name }) =>
    onlyWhere(
      'it runs there',
      step(
        roleChangeSteps.stopService(name, fromSite),
        `scales it to nothing and waits until no replica is left (${duration(app.failover.servicesReadySeconds)} a try); users ` +
          'are not served from here on',
        switchoverSteps.undoStop(name, fromSite, null),
      ),
    ),
  );
}

function handingOver({ app, stores, fromSite, toSite, details }: Planning): PlannedStep[] {
  return stores.map((store) =>
    step(
      switchoverSteps.handOver(store, fromSite, toSite),
      `ends the writes of ${engineOf(app, store)}${at(details, store, fromSite)}, reads where it ended, and waits until ` +
        `${toSite} has it: the proof that nothing is lost`,
      switchoverSteps.undoHandOver(store, fromSite),
    ),
  );
}

/** PostgreSQL can be asked to take no writes, and a session may change its mind. */
function fencing({ fromSite, toSite, details }: Planning): PlannedGroup[] {
  const condition = 'a store could only be asked to take no writes (PostgreSQL)';
  const by =
    details === null
      ? 'by the fence of the config'
      : details.siteFence === null
        ? 'none is configured: an approver has to attest that nothing writes there'
        : `by the ${details.siteFence} of the config, that store alone: shuts it down, reads where it ended, and waits until ${toSite} has that`;
  const proof = onlyWhere(
    condition,
    step(
      switchoverSteps.evidence(fromSite),
      'lasts until every store is proven to refuse writes or an approver attests it; nothing is promoted without',
      switchoverSteps.undoAtWork(fromSite),
    ),
  );
  const fence = step(switchoverSteps.fenceSite(fromSite), by, roleChangeSteps.undoFenceSite(fromSite));
  return [group('fencing', [proof]), group('fencing', [onlyWhere(condition, fence)], { within: proof.id })];
}

function following({ app, stores, fromSite, toSite, details }: Planning): PlannedStep[] {
  return stores.map((store) =>
    step(
      switchoverSteps.follow(store, fromSite),
      `${engineOf(app, store)}${at(details, store, fromSite)} follows ${toSite}, by itself or started so by its host; else says what is left to do`,
    ),
  );
}
