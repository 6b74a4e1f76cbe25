import type { Application, DnsTarget } from './application';
import { formatDuration } from './clock';
import { recordLabel } from './dns-moves';
import { isSkippable, named, roleChangeSteps, type StepName } from './role-change-steps';

/** How long something took in earlier runs. */
export interface ExpectedTime {
  readonly medianSeconds: number;
  readonly slowestSeconds: number;
  /** How many runs it was measured in. */
  readonly runs: number;
}

export interface PlannedStep {
  /** As in the status and the report of a run. */
  readonly id: string;
  readonly title: string;
  /** What it does, exactly. */
  readonly does: string;
  /** What undoes it when the run stops before the pivot; null where there is nothing to undo, or no way back. */
  readonly undo: { readonly id: string; readonly title: string } | null;
  /** Whether a person may leave it out when it has failed for good. */
  readonly skippable: boolean;
  /** From earlier runs to the same site; null: not known yet. */
  readonly expected: ExpectedTime | null;
}

/** Steps that run side by side; the next group begins when all of them have ended. */
export interface PlannedGroup {
  /** As the status of the run calls it. */
  readonly phase: string;
  readonly steps: readonly PlannedStep[];
  /** A step of an earlier group that lasts until this one has ended. */
  readonly within: string | null;
  /** What people decide before it begins; null where nobody is asked. */
  readonly waitsFor: string | null;
  /** True for the group before which the last abort is taken: from it on there is only the way forward. */
  readonly pivot: boolean;
}

export interface RoleChangePlan {
  readonly kind: 'failover';
  readonly application: string;
  readonly fromSite: string;
  readonly toSite: string;
  /** The epoch now, and the one that the run would take. */
  readonly epoch: number;
  readonly nextEpoch: number;
  readonly rtoSeconds: number;
  readonly groups: readonly PlannedGroup[];
  /** From the approval to the verified service, in earlier runs to the same site; null: not known yet. */
  readonly approvalToVerified: ExpectedTime | null;
}

/** What only those know who have the config; a run that is asked for its plan says it without. */
export interface PlanDetails {
  /** The servers of a store at a site: `host:port`. */
  servers(store: string, site: string): readonly string[];
  /** The kind of the site's fence; null where none is configured. */
  readonly siteFence: string | null;
}

/**
 * The runbook of an unplanned failover for this application: the steps that `workflows/fail-over.ts` runs, in its order
 * and under its names (`test/workflows/fail-over.test.ts` holds the two together).
 */
export function planFailover(
  app: Application,
  { fromSite, toSite, epoch }: { readonly fromSite: string; readonly toSite: string; readonly epoch: number },
  details: PlanDetails | null,
): RoleChangePlan {
  const stores = app.stores.filter(({ hasReplication }) => hasReplication).map(({ name }) => name);
  const planning: Planning = { app, stores, fromSite, toSite, epoch, details };
  return {
    kind: 'failover',
    application: app.name,
    fromSite,
    toSite,
    epoch,
    nextEpoch: epoch + 1,
    rtoSeconds: app.objectives.rtoSeconds,
    approvalToVerified: null,
    groups: [
      ...deciding(planning),
      ...fencing(planning),
      group('promoting', promoting(planning), { pivot: true }),
      ...app.serviceGroups.map(({ services }) =>
        group(
          'starting services',
          services.map((service) => starting(planning, service)),
        ),
      ),
      group(
        'moving the name',
        app.dns.map((target) => pointing(planning, target)),
      ),
      group('verifying', verifying(planning)),
      group('archiving the new lineage', [continuing(planning)]),
      group('archiving the new lineage', settling(planning)),
      ...ending(planning),
    ].filter(({ steps }) => steps.length > 0),
  };
}

interface Planning {
  readonly app: Application;
  /** Those with a role to change. */
  readonly stores: readonly string[];
  readonly fromSite: string;
  readonly toSite: string;
  readonly epoch: number;
  readonly details: PlanDetails | null;
}

function group(
  phase: string,
  steps: readonly PlannedStep[],
  more: Partial<Omit<PlannedGroup, 'phase' | 'steps'>> = {},
): PlannedGroup {
  return { phase, steps, within: null, waitsFor: null, pivot: false, ...more };
}

function step(name: StepName, does: string, undo: StepName | null = null): PlannedStep {
  return { ...named(name), does, undo: undo && named(undo), skippable: isSkippable(name[0]), expected: null };
}

function deciding({ app, stores, fromSite, toSite, details }: Planning): PlannedGroup[] {
  const { approvers, requesterMayApprove, escalateAfterSeconds } = app.failover;
  const standbys = stores.map((store) => `${store}${at(details, store, toSite)}`).join(', ');
  const approval =
    `approval by ${approvers.join(' or ') || 'anybody'}${requesterMayApprove ? '' : ', but not by whoever asked'}; ` +
    `asked again every ${duration(escalateAfterSeconds)}, never assumed`;
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
        `asks ${standbys || 'no store'}; again after the approval; one that does not answer ends the run`,
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
      { waitsFor: approval },
    ),
  ];
}

function fencing({ app, stores, fromSite, epoch, details }: Planning): PlannedGroup[] {
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
    group('fencing', [proof]),
    group('fencing', [step(roleChangeSteps.fenceSite(fromSite), siteFence, roleChangeSteps.undoFenceSite(fromSite))], {
      within: proof.id,
    }),
    group(
      'fencing',
      stores.map((store) =>
        step(
          roleChangeSteps.fenceStore(store, fromSite),
          `by ${engineOf(app, store)}'s own means${at(details, store, fromSite)}`,
          roleChangeSteps.undoFenceStore(store, fromSite),
        ),
      ),
      { within: proof.id },
    ),
  ];
}

function promoting({ app, stores, toSite, epoch, details }: Planning): PlannedStep[] {
  return stores.map((store) =>
    step(
      roleChangeSteps.promote(store, toSite),
      `makes ${engineOf(app, store)}${at(details, store, toSite)} the primary, and notes epoch ${epoch + 1} in it`,
    ),
  );
}

function starting(
  { app, toSite }: Planning,
  { name, replicas }: { readonly name: string; readonly replicas: number },
): PlannedStep {
  return step(
    roleChangeSteps.service(name, toSite),
    `scales it to ${count(replicas, 'replica')} and waits until all are ready ` +
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

function ending({ app }: Planning): PlannedGroup[] {
  return [
    group('archiving the new lineage', [
      step(
        roleChangeSteps.tell('end', `Failover of ${app.name}: completed`),
        'tells every channel of the config; one that fails holds nothing up',
      ),
    ]),
    group('archiving the new lineage', [
      step(roleChangeSteps.report(), 'what was done, by whom, how long it took: in the control repository'),
    ]),
  ];
}

function at(details: PlanDetails | null, store: string, site: string): string {
  const servers = details?.servers(store, site) ?? [];
  return servers.length === 0 ? ` of ${store} at ${site}` : ` at ${servers.join(', ')}`;
}

const engineOf = (app: Application, store: string) => app.stores.find(({ name }) => name === store)?.engine ?? store;

const duration = (seconds: number) => formatDuration(seconds * 1_000);

const count = (many: number, what: string) => `${many} ${what}${many === 1 ? '' : 's'}`;
