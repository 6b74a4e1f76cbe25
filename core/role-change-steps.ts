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
  promote: (store: string, toSite: string): StepName => [`promote:${store}`, `Promote ${store} at ${toSite}`],
  service: (service: string, toSite: string): StepName => [`service:${service}`, `Start ${service} at ${toSite}`],
  /** Only where somebody's word alone says that the old primaries are dead. */
  holdFence: (stores: readonly string[], fromSite: string): StepName => [
    'hold:fence',
    `Keep trying to fence ${stores.join(', ')} at ${fromSite}, in a run of its own`,
  ],
  dns: (target: DnsTarget, toSite: string): StepName => [
    `dns:${recordLabel(target)}`,
    `Point ${recordLabel(target)} to ${(target.valuesBySite[toSite] ?? []).join(', ')}`,
  ],
  verifyEndpoint: ({ method, url }: EndpointCheck): StepName => [
    `verify:${method} ${url}`,
    `${method} ${url} through the new record`,
  ],
  verifyStore: (store: string): StepName => [`verify:${store}`, `Write to ${store} and read it back`],
  lineage: (toSite: string): StepName => ['lineage', `Archive and back up from ${toSite}`],
  settle: (): StepName => ['settle', 'Let a run of its own wait out the old TTL and ask the resolvers'],
  tell: (news: string, title: string): StepName => [`notify:${news}`, `Tell people: ${title}`],
  report: (): StepName => ['report', 'Store the report'],

  undoEpoch: (fromSite: string): StepName => ['undo:epoch', `Give the epoch back to ${fromSite}`],
  undoFenceSite: (fromSite: string): StepName => [
    'undo:fence:site',
    `Unfence the site ${fromSite} and start again what the fence stopped`,
  ],
  undoFenceStore: (store: string, fromSite: string): StepName => [
    `undo:fence:${store}`,
    `Unfence ${store} at ${fromSite}`,
  ],
  undoAtWork: (fromSite: string): StepName => [
    'undo:at-work',
    `See that ${fromSite} serves as it did before the fence`,
  ],
} as const;

/** As an object, for what is kept under its name. */
export const named = ([id, title]: StepName) => ({ id, title });

/** Whether a person may leave a step out that failed for good: no data is at risk without it. */
export function isSkippable(stepId: string): boolean {
  return /^(service|verify|lineage|dns|settle|hold|follow)/.test(stepId);
}
