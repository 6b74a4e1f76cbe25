import type { BackupType } from './catalog';
import type { HealthReason, HealthStatus } from './monitoring/store-view';
import type { ReadElsewhere } from './reading';
import type { Fingerprint, Leave, RecoveryTarget, RestoredStore, RestorePlan } from './recovery';
import type { CheckResult } from './restore-checks';
import type { Selection } from './selection';
import type { ThawTier } from './thaw';

/**
 * What starters and workflows say to each other: the types of the workflows, their inputs and results, and the names of
 * their messages. Inputs and results of the role changes are in `role-change-runs.ts`, workflow ids and queues in
 * `names.ts`. Every workflow runs on `taskQueues.workflows`.
 *
 * What a starter reads of the repository without Temporal (lists of backups, log windows, reports) it reads through
 * `openApplication(config)` of `workers/wiring.ts`: the repository alone is enough.
 */
export const workflowTypes = {
  backUpStore: 'backUpStore',
  launchBackups: 'launchBackups',
  archiveLog: 'archiveLog',
  watchReplication: 'watchReplication',
  restoreStores: 'restoreStores',
  failOver: 'failOver',
  switchOver: 'switchOver',
  checkHealth: 'checkHealth',
  checkReadiness: 'checkReadiness',
  applyRetention: 'applyRetention',
  drill: 'drill',
  launchDrill: 'launchDrill',
  verifyStores: 'verifyStores',
  settleDns: 'settleDns',
  changeTtl: 'changeTtl',
  holdFence: 'holdFence',
  copyStores: 'copyStores',
  copyStore: 'copyStore',
  workThroughChecklist: 'workThroughChecklist',
  watchUptime: 'watchUptime',
  reportReadiness: 'reportReadiness',
} as const;

/** Queries. `status` answers a RunStatus for every workflow, `plan` what the run is going to do. */
export const queries = { status: 'status', plan: 'plan' } as const;

/**
 * Commands to a running workflow. Each name is an update (validated at once, answers) and a signal (needs no worker
 * online; what a validator would refuse is noted in the status and otherwise ignored).
 */
export const commands = {
  approve: 'approve',
  reject: 'reject',
  abort: 'abort',
  pause: 'pause',
  resume: 'resume',
  retry: 'retry',
  skip: 'skip',
  attest: 'attest',
  force: 'force',
  /** A checklist only: an item of it, in a person's name. */
  sign: 'sign',
  /** Entity workflows (archiveLog, watchReplication) only: work at another site from now on. */
  moveTo: 'moveTo',
} as const;

/** The payload of every command. `by` is the person; `reason` is wanted for reject, abort, skip, attest and force, and is the note of sign. */
export interface Command {
  readonly by: string;
  readonly reason?: string;
  /** For retry and skip: the id of the step that is meant; needed where several wait at once. For sign: the item. */
  readonly step?: string;
  /** For approve: the number of the card that the person saw; the one that is shown now where it is left out. */
  readonly card?: number;
}

/** Only the epoch: which site is active since then, the workflow asks of the epochs themselves. */
export interface MoveTo {
  readonly epoch: number;
}

export type StepState = 'waiting' | 'running' | 'done' | 'failed' | 'skipped' | 'undone';

/** The same on the terminal and in the Web UI. */
export const STEP_SIGNS: Readonly<Record<StepState, string>> = {
  waiting: '·',
  running: '▶',
  done: '✔',
  failed: '✘',
  skipped: '–',
  undone: '↩',
};

export interface StepStatus {
  /** Stable id of the step, such as `promote:orders-db`. */
  readonly id: string;
  /** What a person reads: "Promote orders-db at dr". */
  readonly title: string;
  readonly state: StepState;
  readonly startedAt: string | null;
  readonly finishedAt: string | null;
  /** A few words of result ("timeline 2 at 0/5000148") or the reason of a failure. */
  readonly note: string | null;
}

/** Unplanned and planned; both have the id `role-change:<application>`, so that only one of them runs. */
export type RoleChangeKind = 'failover' | 'switchover';

export interface RunStatus {
  readonly kind:
    | 'backup'
    | 'restore'
    | RoleChangeKind
    | 'archive'
    | 'watch'
    | 'launch'
    | 'health'
    | 'readiness'
    | 'retention'
    | 'drill'
    | 'verify'
    | 'settle'
    | 'ttl'
    | 'fence'
    | 'copy'
    | 'checklist'
    | 'uptime'
    | 'report';
  readonly application: string;
  readonly phase: string;
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly steps: readonly StepStatus[];
  /** What the run waits for a person to do, null when it does not. */
  readonly waitingFor: string | null;
  readonly messages: readonly string[];
}

export interface BackUpStoreInput {
  readonly application: string;
  readonly store: string;
  readonly type: BackupType;
  /** Why: "schedule", a person's name, "gap in the log". */
  readonly reason: string;
}

export interface BackUpStoreResult {
  readonly backupId: string;
  readonly store: string;
  readonly type: BackupType;
  readonly typeReason: string | null;
  readonly consistentAt: string;
  readonly storedBytes: number;
  readonly contentBytes: number;
  readonly seconds: number;
  /** What went wrong after the backup was committed (cleaning up, mirrors): the backup itself is whole. */
  readonly warnings: readonly string[];
}

/** Started by schedules and by `drctl backup`; its children are `backup:<application>:<store>`, one each. */
export interface LaunchBackupsInput {
  readonly application: string;
  readonly stores: readonly string[];
  readonly type: BackupType;
  readonly reason: string;
  /** Wait for an earlier backup of a store to end instead of skipping the store (after a role change). */
  readonly waitForRunning?: boolean;
}

export interface LaunchBackupsResult {
  readonly backups: readonly BackUpStoreResult[];
  /** Stores whose backup failed, with the reason; one that fails does not stop the others. */
  readonly failed: readonly { readonly store: string; readonly code: string; readonly message: string }[];
  /** Stores whose earlier backup was still running. */
  readonly skipped: readonly string[];
}

/** Entity workflows; `drctl schedules apply` starts those that do not run yet (conflict policy: use the existing). */
export interface ArchiveLogInput {
  readonly application: string;
  readonly store: string;
  /** Gaps that a new base was started for, handed on by a run that continues as new. */
  readonly answeredGaps?: readonly string[];
}

export interface WatchReplicationInput {
  readonly application: string;
}

/** Only where the config has endpoints: without one nothing tells whether the application is up. */
export interface WatchUptimeInput {
  readonly application: string;
}

export interface RestoreStoresInput {
  readonly application: string;
  readonly restoreId: string;
  /** The site whose worker restores. */
  readonly site: string;
  readonly target: RecoveryTarget;
  readonly stores: readonly { readonly store: string; readonly place: RestorePlaceInput }[];
  readonly requestedBy: string;
  /** False: wait for `approve` after the plan was made (the `plan` query answers RestorePlan[]). */
  readonly approved: boolean;
  /** How the restored stores are left; open where it is left out. */
  readonly leave?: Leave;
  /** How fast what lies in archive classes is asked back; as the config says where it is left out. */
  readonly thawTier?: ThawTier;
  /** The part of the one store that is restored; all of it where it is left out. */
  readonly selection?: Selection;
  /** The only repository that is read; the stores' own, and their copies where that has to be, where it is left out. */
  readonly copy?: string;
}

export interface RestorePlaceInput {
  readonly directory: string;
  readonly host: string;
  readonly port: number;
  readonly osUser: string | null;
  readonly overwrite: boolean;
  /** See `RestorePlace.delta`. */
  readonly delta?: boolean;
}

export interface RestoreStoresResult {
  readonly restoreId: string;
  readonly stores: readonly {
    readonly store: string;
    readonly plan: RestorePlan;
    readonly restored: RestoredStore;
    readonly fingerprint: Fingerprint;
    /** Empty where the config has none for the store. */
    readonly checks: readonly CheckResult[];
    /** What was damaged or gone in its repository and was read from a copy; absent where nothing was. */
    readonly elsewhere?: readonly ReadElsewhere[];
    readonly seconds: number;
  }[];
  readonly seconds: number;
}

export interface CheckHealthInput {
  readonly application: string;
}

export interface StoreHealth {
  readonly store: string;
  readonly status: HealthStatus;
  readonly reasons: readonly HealthReason[];
  readonly lastBackupAt: string | null;
  readonly lastBackupAgeHours: number | null;
  /** Seconds of changes that are not in the archive; null when unknown or when the store has no log. */
  readonly rpoSeconds: number | null;
  /** What an administrator should mend at its servers, each with the site and the exact setting; alarms nobody by itself. */
  readonly problems: readonly string[];
}

export interface CheckHealthResult {
  readonly application: string;
  readonly at: string;
  readonly stores: readonly StoreHealth[];
  /** What earlier looks kept and cannot be believed any more; absent where all can. */
  readonly problems?: readonly string[];
}

/** Answers a `ReadinessResult`. */
export interface CheckReadinessInput {
  readonly application: string;
  /** The site that would take over; the first that is not active where it is left out. */
  readonly toSite?: string;
  /** Also look at what only a planned move needs: both sites well, the standbys close behind. */
  readonly planned?: boolean;
  readonly requestedBy: string;
  /** Tell people when something would fail on the day; false where a person looks at the result anyway. */
  readonly tell: boolean;
}
