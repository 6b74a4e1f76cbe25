import type { Application, DnsTarget } from './application';
import { recordLabel } from './dns-moves';
import type { EndpointCheck } from './traffic';

/** What finds a step in the status, and what people read of it. */
export type StepName = readonly [id: string, title: string];

/**
 * The steps of a role change. The workflow runs them and the plan lists them under these names, so that what is planned
 * is found again in what runs, and in the reports of what ran.
 */
export const roleChangeSteps = {
  confirm: ({ failover }: Application, fromSite: string): StepName => [
    'confirm',
    `Confirm that ${fromSite} is down (${failover.confirmProbes} looks, ${failover.confirmIntervalSeconds} s apart)`,
  ],
  standbys: (toSite: string): StepName => ['standbys', `Check that every store has a standby at ${toSite}`],
  assess: (): StepName => ['assess', 'Measure what a failover would lose'],
  lookAgain: (fromSite: string): StepName => ['look-again', `Look at ${fromSite} once more`],
  epoch: (): StepName => ['epoch', 'Take the epoch: from here on steps of older role changes refuse'],
  evidence: (fromSite: string): StepName => ['evidence', `Fence ${fromSite} and prove it for every store`],
  fenceSite: (fromSite: string): StepName => ['fence:site', `Fence the site ${fromSite}`],
  fenceStore: (store: string, fromSite: string): StepName => [`fence:${store}`, `Fence ${store} at ${fromSite}`],
  stopService: (service: string, fromSite: string): StepName => [`stop:${service}`, `Stop ${service} at ${fromSite}`],
  catchUp: (store: string, toSite: string): StepName => [
    `catch-up:${store}`,
    `Bring what only the archive has of ${store} to ${toSite}`,
  ],
  /** Only where the server that was caught up is not the one that is promoted. */
  catchUpInstead: (store: string, server: string): StepName => [
    `catch-up-instead:${store}`,
    `Bring what only the archive has of ${store} to ${server}, which is promoted in place of the one that had it`,
  ],
  promote: (store: string, toSite: string): StepName => [`promote:${store}`, `Promote ${store} at ${toSite}`],
  files: (store: string, toSite: string): StepName => [
    `files:${store}`,
    `See that the files of ${store} are at ${toSite}`,
  ],
  service: (service: string, toSite: string): StepName => [`service:${service}`, `Start ${service} at ${toSite}`],
  /** Only where somebody's word alone says that the old primaries are dead. */
  holdFence: (fromSite: string): StepName => ['hold:fence', `Keep trying to fence ${fromSite}, in a run of its own`],
  dns: (target: DnsTarget, toSite: string): StepName => [
    `dns:${recordLabel(target)}`,
    `Point ${recordLabel(target)} to ${(target.valuesBySite[toSite] ?? []).join(', ')}`,
  ],
  verifyEndpoint: ({ method, url }: EndpointCheck): StepName => [
    `verify:${method} ${url}`,
    `${method} ${url} through the new record`,
  ],
  verifyStore: (store: string): StepName => [`verify:${store}`, `Write to ${store} and read it back`],
  /** Only where a site has several servers of a store. */
  members: (store: string, toSite: string): StepName => [
    `members:${store}`,
    `Make the other servers of ${store} at ${toSite} follow the new primary`,
  ],
  lineage: (toSite: string): StepName => ['lineage', `Archive and back up from ${toSite}`],
  settle: (): StepName => ['settle', 'Let a run of its own wait out the old TTL and ask the resolvers'],
  tell: (news: string, title: string): StepName => [`notify:${news}`, `Tell people: ${title}`],
  report: (): StepName => ['report', 'Store the report'],

  /** Of the user's own. */
  hook: (name: string, site: string): StepName => [`hook:${name}`, `Run hook ${name} at ${site}`],
  undoHook: (name: string, site: string): StepName => [`undo:hook:${name}`, `Take hook ${name} at ${site} back`],

  undoEpoch: (fromSite: string): StepName => ['undo:epoch', `Give the epoch back to ${fromSite}`],
  undoFenceSite: (fromSite: string): StepName => [
    'undo:fence:site',
    `Unfence the site ${fromSite} and start again what the fence stopped`,
  ],
  undoFenceStore: (store: string, fromSite: string): StepName => [
    `undo:fence:${store}`,
    `Unfence ${store} at ${fromSite}`,
  ],
  undoCatchUp: (store: string, toSite: string): StepName => [
    `undo:catch-up:${store}`,
    `See that ${store} at ${toSite} is told to follow its primary again`,
  ],
  undoStopService: (service: string, fromSite: string): StepName => [
    `undo:stop:${service}`,
    `Give ${service} at ${fromSite} its size back`,
  ],
  undoAtWork: (fromSite: string): StepName => [
    'undo:at-work',
    `See that ${fromSite} serves as it did before the fence`,
  ],
} as const;

/** Those that only a planned move has, or has under another title. */
export const switchoverSteps = {
  ready: (fromSite: string, toSite: string): StepName => ['ready', `Check that ${fromSite} and ${toSite} are healthy`],
  lag: ({ failover }: Application, toSite: string): StepName => [
    'lag',
    `Check that ${toSite} is at most ${failover.switchover.maxLagSeconds} s behind`,
  ],
  lowerTtl: (target: DnsTarget, ttlSeconds: number): StepName => [
    `ttl:${recordLabel(target)}`,
    `Lower the TTL of ${recordLabel(target)} to ${ttlSeconds} s`,
  ],
  handOver: (store: string, fromSite: string, toSite: string): StepName => [
    `hand-over:${store}`,
    `End the writes of ${store} at ${fromSite} and wait until ${toSite} has all of them`,
  ],
  evidence: (fromSite: string): StepName => ['evidence', `Prove that every store at ${fromSite} can take no writes`],
  fenceSite: (fromSite: string): StepName => ['fence:site', `Fence at ${fromSite} what has not proven it by itself`],
  follow: (store: string, fromSite: string): StepName => [
    `follow:${store}`,
    `Make ${store} at ${fromSite} the standby`,
  ],

  /** `replicas`: how many ran; null while that is not known. */
  undoStop: (service: string, fromSite: string, replicas: number | null): StepName => [
    `undo:service:${service}`,
    `Start ${service} at ${fromSite} again, ${replicas ?? 'as many'} of it${replicas === null ? ' as there were' : ''}`,
  ],
  undoHandOver: (store: string, fromSite: string): StepName => [
    `undo:hand-over:${store}`,
    `Let ${store} at ${fromSite} take writes again`,
  ],
  undoAtWork: (fromSite: string): StepName => ['undo:at-work', `See that ${fromSite} serves as it did before`],
} as const;

/** As an object, for what is kept under its name. */
export const named = ([id, title]: StepName) => ({ id, title });

/**
 * Whether a person may leave a step out that failed for good: no data is at risk without it, or none besides what the card of
 * the approval has counted as lost (a catch-up).
 */
export function isSkippable(stepId: string): boolean {
  return /^(hook|catch-up|service|verify|lineage|dns|settle|hold|follow|members)/.test(stepId);
}
