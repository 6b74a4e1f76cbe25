import type { DnsTarget } from './application';
import { countOf } from './clock';
import { recordLabel } from './dns-moves';
import { type HookMoment, type HookPoint, hooksAt } from './hooks';
import { at, duration, group, type PlannedGroup, type PlannedStep, type Planning, step } from './role-change-plan';
import { roleChangeSteps } from './role-change-steps';
import type { RoleChangeKind } from './runs';

/** What the config has run before or after a chapter, one after the other. */
export function hooked(
  { app, fromSite, toSite, details }: Planning,
  kind: RoleChangeKind,
  moment: HookMoment,
  point: HookPoint,
): PlannedGroup[] {
  return hooksAt(app, kind, moment, point).map((hook) => {
    const site = hook.at === 'old' ? fromSite : toSite;
    const what = details?.hook?.(hook.name) ?? (hook.does === 'command' ? 'runs a program' : 'calls a webhook');
    const tries = hook.attempts === 1 ? '' : `, up to ${hook.attempts} times`;
    const failing = hook.onFailure === 'stop' ? 'people decide' : 'it is told and nothing waits';
    const planned = step(
      roleChangeSteps.hook(hook.name, site),
      `${what}, within ${duration(hook.withinSeconds)}${tries}; where it fails ${failing}`,
      hook.undoes ? roleChangeSteps.undoHook(hook.name, site) : null,
    );
    return group('running hooks', [{ ...planned, skippable: hook.onFailure === 'stop' }]);
  });
}

/** From the started services to the verified one. */
export function serving(planning: Planning, kind: RoleChangeKind): PlannedGroup[] {
  const { app } = planning;
  const before = (point: HookPoint) => hooked(planning, kind, 'before', point);
  const after = (point: HookPoint) => hooked(planning, kind, 'after', point);
  return [
    ...before('services'),
    ...app.serviceGroups.map(({ services }) =>
      group(
        'starting services',
        services.map((service) => starting(planning, service)),
      ),
    ),
    ...after('services'),
    ...before('dns'),
    group(
      'moving the name',
      app.dns.map((target) => pointing(planning, target)),
    ),
    ...after('dns'),
    ...before('verification'),
    group('verifying', verifying(planning)),
    ...after('verification'),
  ];
}

function starting(
  { app, toSite }: Planning,
  { name, replicas }: { readonly name: string; readonly replicas: number },
): PlannedStep {
  return step(
    roleChangeSteps.service(name, toSite),
    `scales it to ${countOf(replicas, 'replica')} and waits until all are ready ` +
      `(${duration(app.failover.servicesReadySeconds)} a try)`,
  );
}

function pointing({ app, fromSite, toSite }: Planning, target: DnsTarget): PlannedStep {
  const { name, type, ttlSeconds, valuesBySite } = target;
  const values = (site: string) => (valuesBySite[site] ?? []).join(', ') || 'nothing';
  return step(
    roleChangeSteps.dns(target, toSite),
    `${type} ${name}: ${values(fromSite)} → ${values(toSite)}, TTL ${duration(ttlSeconds)}; waits until the zone is in sync ` +
      `and every authoritative server answers so (${duration(app.failover.dnsPropagationSeconds)} a try)`,
  );
}

function verifying({ app, stores, toSite, details }: Planning): PlannedStep[] {
  const addresses = app.dns.flatMap(({ valuesBySite }) => valuesBySite[toSite] ?? []);
  const by = addresses.length === 0 ? '' : ` from ${addresses.join(' or ')}`;
  return [
    ...app.endpoints.map((check) =>
      step(
        roleChangeSteps.verifyEndpoint(check),
        `at the address that the name servers give then; expects ${check.expectStatus}${by} ` +
          `within ${duration(check.timeoutMilliseconds / 1_000)}`,
      ),
    ),
    ...stores.map((store) =>
      step(
        roleChangeSteps.verifyStore(store),
        `writes a marker of the run${at(details, store, toSite)} and reads it back`,
      ),
    ),
  ];
}

function continuing({ app, toSite }: Planning): PlannedStep {
  const logged = app.stores.filter(({ hasLog }) => hasLog).map(({ name }) => name);
  const archived = logged.length === 0 ? 'no store has a log' : `follows the log of ${logged.join(', ')}`;
  return step(
    roleChangeSteps.lineage(toSite),
    `${archived} at ${toSite}, starts a full backup of each and measures the other site; waits for none of them`,
  );
}

function settling({ app }: Planning): PlannedStep[] {
  if (app.dns.length === 0) return [];
  const names = app.dns.map((target) => recordLabel(target)).join(', ');
  return [
    step(
      roleChangeSteps.settle(),
      `starts a run that waits until no cache may hold the old answer for ${names}, and reports what the resolvers of the config ` +
        'answer meanwhile; does not wait for it',
    ),
  ];
}

/** Once users are served again. */
export function ending(planning: Planning, kind: 'Failover' | 'Switchover'): PlannedGroup[] {
  return [
    group('archiving the new lineage', [continuing(planning)]),
    group('archiving the new lineage', settling(planning)),
    group('archiving the new lineage', [
      step(
        roleChangeSteps.tell('end', `${kind} of ${planning.app.name}: completed`),
        'tells every channel of the config; one that fails holds nothing up',
      ),
    ]),
    group('archiving the new lineage', [
      step(roleChangeSteps.report(), 'what was done, by whom, how long it took: in the control repository'),
    ]),
  ];
}
