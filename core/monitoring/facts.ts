import type { KeptLog } from '../engine';
import type { StoreView } from './store-view';
import type { Tally } from './tally';

/**
 * All that the metrics of one application are made of, found at `at`. Nothing of it is kept in the process: a worker that was
 * restarted, or another one, finds the same. A part that could not be read is null, and its name is among `problems`.
 */
export interface ApplicationFacts {
  readonly application: string;
  /** The site of the worker that looked. */
  readonly site: string;
  readonly at: string;
  readonly tookSeconds: number;
  /** Those of them that could be read. */
  readonly stores: readonly StoreView[];
  readonly tally: Tally | null;
  readonly active: { readonly site: string; readonly epoch: number } | null;
  readonly replication: readonly ReplicationLag[] | null;
  readonly roleChange: RoleChangeNow | null;
  readonly readiness: readonly ReadinessScore[] | null;
  readonly recoveries: readonly Recovery[] | null;
  /** Database servers of the worker's own site. */
  readonly servers: readonly ServerState[] | null;
  readonly storage: StorageSizes | null;
  readonly problems: readonly FactProblem[];
}

export interface FactProblem {
  /** `store:orders-db`, `replication`, … */
  readonly part: string;
  readonly reason: string;
}

/** How far the standby was behind at the newest sample. */
export interface ReplicationLag {
  readonly store: string;
  readonly sampledAt: string;
  readonly seconds: number | null;
  readonly bytes: number | null;
}

/** `kind` null: none runs. */
export interface RoleChangeNow {
  readonly kind: string | null;
  readonly phase: string;
}

export interface ReadinessScore {
  readonly site: string;
  readonly at: string;
  readonly ready: boolean;
  readonly score: number;
}

/** The newest of each kind that reached its end. */
export interface Recovery {
  readonly operation: string;
  readonly seconds: number;
  readonly endedAt: string;
}

export interface ServerState {
  readonly store: string;
  readonly reachable: boolean;
  readonly role: string;
  readonly writable: boolean | null;
  readonly keptLog: KeptLog | null;
}

/** What the listings of the repositories add up to: orphans too, since they are paid for as well. */
export interface StorageSizes {
  readonly at: string;
  readonly contents: readonly {
    readonly repository: string;
    readonly store: string;
    /** `full`, `incr`, `log`, `files`, `config`. */
    readonly content: string;
    readonly bytes: number;
    readonly objects: number;
  }[];
}
