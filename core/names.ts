/** Readable ids, queues and message names: what a person sees in the Web UI and types at the `temporal` CLI. */

export const workflowIds = {
  backup: (application: string, store: string) => `backup:${application}:${store}`,
  archive: (application: string, store: string) => `archive:${application}:${store}`,
  restore: (application: string, restoreId: string) => `restore:${application}:${restoreId}`,
  /** Failover, switchover, failback and live drill alike: one role change of an application at a time (rule 7). */
  roleChange: (application: string) => `role-change:${application}`,
  watch: (application: string) => `watch:${application}`,
  uptime: (application: string) => `uptime:${application}`,
  /** What becomes of the public names after the role change that took the epoch. */
  settle: (application: string, epoch: number) => `settle:${application}:${epoch}`,
  /** Waits for the old primaries that the role change of this epoch could not prove to be dead. */
  holdFence: (application: string, epoch: number) => `fence:${application}:${epoch}`,
  /** One change of the TTLs at a time. */
  timeToLive: (application: string) => `ttl:${application}`,
  /** One deletion of what is not kept any more at a time. */
  retention: (application: string) => `retention:${application}`,
  /** One copy of a store to one repository at a time. */
  copy: (application: string, copy: string, store: string) => `copy:${application}:${copy}:${store}`,
  /** Copies that a person asked for. */
  copies: (application: string, name: string) => `copies:${application}:${name}`,
  /** A look that a person asked for; any number may be under way. */
  readiness: (application: string, look: string) => `readiness:${application}:${look}`,
  /** One that a person asked for; any number may be under way. */
  verify: (application: string, name: string) => `verify:${application}:${name}`,
  /** A report on a month that a person asked for. */
  report: (application: string, name: string) => `report:${application}:${name}`,
  /** One rehearsal at a time; a role change ends it. */
  drill: (application: string) => `drill:${application}`,
  schedule: (application: string, purpose: string) => `${application}-${purpose}`,
} as const;

export const taskQueues = {
  /** Workflow tasks of every application: every worker has every workflow. */
  workflows: 'drctl',
  /** Activities on the application's repository and config alone: every worker that serves it, at any site. */
  control: (application: string) => `${application}/control`,
  /** Activities that need a site's credentials and network. */
  site: (application: string, site: string) => `${application}/${site}`,
  /** Activities that need the disk of one host. */
  host: (application: string, site: string, hostId: string) => `${application}/${site}/${hostId}`,
} as const;

/** Registered in the namespace by `drctl lab up`, or once by an administrator (docs/temporal.md). */
export const SEARCH_ATTRIBUTES = {
  DrApplication: 'Keyword',
  DrStore: 'Keyword',
  DrSite: 'Keyword',
  DrKind: 'Keyword',
  DrPhase: 'Keyword',
  DrEpoch: 'Int',
} as const;
