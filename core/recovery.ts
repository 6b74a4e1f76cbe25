import { failure } from './errors';
import type { Position } from './positions';
import type { Selection } from './selection';
import type { ThawPlan } from './thaw';

/** What a person asks for with `--to`, and how it is meant where that is open. */
export type RecoveryTarget = TargetChoice &
  (
    | { readonly kind: 'latest' }
    | { readonly kind: 'time'; readonly time: string }
    | { readonly kind: 'position'; readonly text: string }
    /** The end of one transaction, by the id that the engine itself gave it (PostgreSQL: `pg_current_xact_id()`). */
    | { readonly kind: 'transaction'; readonly id: string }
    | { readonly kind: 'name'; readonly name: string }
    | { readonly kind: 'backup'; readonly backupId: string }
  );

export interface TargetChoice {
  /** Whether what lies exactly at a time, position or transaction belongs to the state; left out: the engine's own default. */
  readonly inclusive?: boolean;
  /** The timeline to end on (PostgreSQL); left out: chosen from the catalogue. */
  readonly timeline?: number;
}

/** What every engine understands. */
export type PlainTarget = Exclude<RecoveryTarget, { readonly kind: 'transaction' }>;

/**
 * For engines whose log has neither transaction ids nor timelines, and one meaning for each target. Throws UsageInvalid: a
 * wish that is not understood must not be passed over.
 */
export function requirePlainTarget(
  store: string,
  engine: string,
  target: RecoveryTarget,
): asserts target is PlainTarget {
  const asked =
    target.kind === 'transaction'
      ? 'a transaction id'
      : target.timeline !== undefined
        ? 'a timeline'
        : target.inclusive !== undefined
          ? 'a choice between inclusive and exclusive'
          : null;
  if (asked === null) return;
  throw failure('UsageInvalid', `${store} is restored by ${engine}, which has no such thing as ${asked}`, {
    next: 'Leave it out, or restore the PostgreSQL stores by themselves.',
  });
}

/** How a restored store is left: open for writing, stopped at its target and readable, or shut down, ready to be started. */
export const LEAVES = ['open', 'paused', 'shutdown'] as const;
export type Leave = (typeof LEAVES)[number];

/** Throws UsageInvalid where the engine cannot leave a store so. */
export function requireLeave(store: string, possible: readonly Leave[], leave: Leave): void {
  if (possible.includes(leave)) return;
  throw failure('UsageInvalid', `${store} cannot be left ${leave}: its engine leaves it ${possible.join(', ')}`, {
    next: 'Leave --leave out, or restore that store by itself.',
  });
}

/** Throws RoleMismatch for a copy that is open although it was to be left stopped at its target. */
export function requireStopped(store: string, wanted: Leave, restored: RestoredStore): RestoredStore {
  if (wanted === 'open' || restored.state !== 'open') return restored;
  const where = restored.address ? `${restored.address.host}:${restored.address.port}` : restored.directory;
  throw failure(
    'RoleMismatch',
    `${store} cannot be left ${wanted}: the copy at ${where} opened by itself at its target`,
    {
      data: `The copy is at the target, open for writing on a lineage of its own, and was left so. ${restored.notes.join(' ')}`,
      next: 'Use it as it is, or restore another backup or target; --leave open asks for no more than this.',
    },
  );
}

/** How a restore of one store will be done. Small: it is kept in the workflow's history and shown before anything starts. */
export interface RestorePlan {
  readonly store: string;
  readonly engine: string;
  readonly target: RecoveryTarget;
  /** Backup ids, full first. */
  readonly chain: readonly string[];
  readonly lineage: string | null;
  /** The part of the store that is restored, and its new names; absent: the whole store. */
  readonly selection?: Selection;
  /** The part of the log that is replayed; null where none is. `to` null: as far as needed to reach the target's time. */
  readonly log: { readonly from: Position; readonly to: Position | null } | null;
  /** What will be reached: exactly the target, or (engines without a log) the state of the nearest earlier backup. */
  readonly reaches: { readonly time: string; readonly position: Position | null; readonly exact: boolean };
  readonly downloadBytes: number;
  /** What of the chain lies in archive classes; absent where nothing does. */
  readonly thaw?: ThawPlan;
  /** What a person should know before they say yes. */
  readonly notes: readonly string[];
}

/** The range of instants that can be restored; several where a gap or a new lineage separates them. */
export interface RecoveryWindow {
  readonly from: string;
  readonly to: string;
  readonly lineage: string | null;
  readonly exact: boolean;
}

/** Where a store is restored to. Never the source (rule 5). */
export interface RestorePlace {
  readonly directory: string;
  readonly host: string;
  /** 0: the engine takes a free port and says which. Ignored by engines without a server. */
  readonly port: number;
  /** Operating system user for the restored server and its files; null: the worker's own. */
  readonly osUser: string | null;
  /** Allowed to replace what is in `directory`. */
  readonly overwrite: boolean;
  /**
   * PostgreSQL: keep the files there that are right by their checksum. Allowed where an earlier restore of the same cluster
   * lies, and on its server's own data directory while that is stopped, which becomes a place then.
   */
  readonly delta?: boolean;
}

/** A restored store. Holds no secret. */
export interface RestoredStore {
  readonly directory: string;
  readonly state: Leave;
  /** Null for engines without a server. */
  readonly address: { readonly host: string; readonly port: number } | null;
  readonly reachedPosition: Position | null;
  readonly reachedTime: string | null;
  readonly notes: readonly string[];
}

/** The content of a store, comparable between source and copy. */
export interface Fingerprint {
  readonly algorithm: string;
  readonly items: readonly { readonly name: string; readonly count: number; readonly digest: string }[];
}

export interface FingerprintDifference {
  readonly name: string;
  readonly expected: string;
  readonly found: string;
}

/** Every item that differs, is missing or is too many; empty when the contents are equal. */
export function compareFingerprints(expected: Fingerprint, found: Fingerprint): FingerprintDifference[] {
  if (expected.algorithm !== found.algorithm) {
    return [{ name: '(algorithm)', expected: expected.algorithm, found: found.algorithm }];
  }
  const describe = (item: Fingerprint['items'][number] | undefined) =>
    item ? `${item.count} × ${item.digest}` : 'absent';
  const names = new Set([...expected.items, ...found.items].map((item) => item.name));
  const pick = (print: Fingerprint, name: string) => print.items.find((item) => item.name === name);
  return [...names]
    .map((name) => ({ name, expected: describe(pick(expected, name)), found: describe(pick(found, name)) }))
    .filter((each) => each.expected !== each.found);
}
