import type { Application } from './application';
import { formatDuration } from './clock';
import { isSkippable, named, roleChangeSteps, type StepName } from './role-change-steps';
import type { RoleChangeKind } from './runs';

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
  /** Where it may turn out not to be needed: when it is; null: it always runs. */
  readonly onlyWhere: string | null;
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
  readonly kind: RoleChangeKind;
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
  /** What a hook runs, in words. */
  hook?(name: string): string;
  /**
   * How many members of a store that elects its primary itself the config names at other sites than this one, of how many;
   * null for other stores, and absent where nobody knows.
   */
  survivors?(store: string, lostSite: string): { readonly left: number; readonly all: number } | null;
}

/** What every part of a plan is made of. */
export interface Planning {
  readonly app: Application;
  /** Those with a role to change. */
  readonly stores: readonly string[];
  readonly fromSite: string;
  readonly toSite: string;
  readonly epoch: number;
  readonly details: PlanDetails | null;
}

export function group(
  phase: string,
  steps: readonly PlannedStep[],
  more: Partial<Omit<PlannedGroup, 'phase' | 'steps'>> = {},
): PlannedGroup {
  return { phase, steps, within: null, waitsFor: null, pivot: false, ...more };
}

export function step(name: StepName, does: string, undo: StepName | null = null): PlannedStep {
  const always = { onlyWhere: null, expected: null };
  return { ...named(name), does, undo: undo && named(undo), skippable: isSkippable(name[0]), ...always };
}

export const onlyWhere = (condition: string, planned: PlannedStep): PlannedStep => ({
  ...planned,
  onlyWhere: condition,
});

/** The stores whose role changes. */
export function replicatedStores(app: Application): string[] {
  return app.stores.filter(({ hasReplication }) => hasReplication).map(({ name }) => name);
}

/** The stores whose files services find in their own site. */
export function fileStores(app: Application): string[] {
  return app.stores.filter(({ engine }) => engine === 'files').map(({ name }) => name);
}

/** Where people decide, before anything is changed. */
export function approvalOf({ failover }: Application): string {
  const { approvers, requesterMayApprove, escalateAfterSeconds } = failover;
  return (
    `approval by ${approvers.join(' or ') || 'anybody'}${requesterMayApprove ? '' : ', but not by whoever asked'}; ` +
    `asked again every ${duration(escalateAfterSeconds)}, never assumed`
  );
}

export function whole(
  { app, fromSite, toSite, epoch }: Planning,
  kind: RoleChangeKind,
  groups: readonly PlannedGroup[],
): RoleChangePlan {
  return {
    kind,
    application: app.name,
    fromSite,
    toSite,
    epoch,
    nextEpoch: epoch + 1,
    rtoSeconds: app.objectives.rtoSeconds,
    approvalToVerified: null,
    groups: groups.filter(({ steps }) => steps.length > 0),
  };
}

export function promoting({ app, stores, fromSite, toSite, epoch, details }: Planning): PlannedStep[] {
  return stores.map((store) =>
    step(
      roleChangeSteps.promote(store, toSite),
      `makes ${choosesAt(app, store, toSite) ? 'the one with the newest timeline and most of its log of ' : ''}` +
        `${engineOf(app, store)}${at(details, store, toSite)} the primary, and notes epoch ${epoch + 1} in it` +
        forcing(details?.survivors?.(store, fromSite) ?? null, fromSite),
    ),
  );
}

/** The other servers of the site, once users are served again. */
export function leadingMembers({ app, stores, toSite }: Planning): PlannedStep[] {
  return stores
    .filter((store) => choosesAt(app, store, toSite))
    .map((store) =>
      step(
        roleChangeSteps.members(store, toSite),
        'leads each that does not follow by itself to the new primary (its primary_conninfo, without a restart), and says what is ' +
          'left to do where one cannot',
      ),
    );
}

/** Beside the promotion, before anything is started that needs them. */
export function seeingFiles({ app, toSite }: Planning): PlannedStep[] {
  return fileStores(app).map((store) =>
    step(
      roleChangeSteps.files(store, toSite),
      'looks whether its directories can be read there; what is missing is told, and nothing waits for it',
    ),
  );
}

/** By what the config says of the members: the set itself decides on the day, and may have voters that the config does not name. */
function forcing(survivors: { readonly left: number; readonly all: number } | null, fromSite: string): string {
  if (survivors === null) return '';
  const { left, all } = survivors;
  const members = `the config names ${left} of ${all} members elsewhere than at ${fromSite}`;
  const only = 'only once an approver attests it (drctl failover force) and the old primary is proven dead';
  return 2 * left > all
    ? `; ${members}, and a majority elects it; where none answers on the day, it is forced, ${only}`
    : `; ${members}: unless a voter that it does not name makes them a majority, it has to be forced, ${only}`;
}

export function at(details: PlanDetails | null, store: string, site: string): string {
  const servers = details?.servers(store, site) ?? [];
  return servers.length === 0 ? ` of ${store} at ${site}` : ` at ${servers.join(', ')}`;
}

export const choosesAt = (app: Application, store: string, site: string) =>
  app.stores.some(({ name, choosesAt: sites = [] }) => name === store && sites.includes(site));

export const engineOf = (app: Application, store: string) =>
  app.stores.find(({ name }) => name === store)?.engine ?? store;

export const duration = (seconds: number) => formatDuration(seconds * 1_000);
