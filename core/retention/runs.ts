/** What starters, the retention workflow and its activities say to each other. */
export interface ApplyRetentionInput {
  readonly application: string;
  readonly stores: readonly string[];
  readonly requestedBy: string;
  /** The copies of the stores, each of which has a retention of its own. */
  readonly copies?: readonly { readonly store: string; readonly copy: string }[];
  /** It runs under the id that only one run has (`workflowIds.retention`); a schedule's run starts such a child instead. */
  readonly isOnlyOne?: boolean;
  /** Instead of the config's, for this run; a person named it. */
  readonly maxDeleteShare?: number;
  readonly graceSeconds?: number;
}

export interface Amount {
  readonly objects: number;
  readonly sizeBytes: number;
}

/** What a run intends for one store, or has done. */
export interface RetentionAmounts {
  readonly backups: Amount;
  readonly log: Amount;
  /** Data of backups that do not exist: of crashes, and of deletions that were not finished. */
  readonly leftovers: Amount;
  readonly unfinishedUploads: number;
}

export interface MarkedStore extends RetentionAmounts {
  readonly store: string;
  /** The repository of the copy; absent where it is the store's own. */
  readonly copy?: string;
  readonly sweepAt: string;
  readonly problems: readonly string[];
}

export interface SweptStore extends RetentionAmounts {
  readonly store: string;
  readonly copy?: string;
  /** The backup that stays whatever happens; null where there is none. */
  readonly newest: string | null;
}

export interface ApplyRetentionResult {
  readonly swept: readonly SweptStore[];
  readonly failed: readonly { readonly store: string; readonly code: string; readonly message: string }[];
  /** Who ended it during the grace, and why; null where nobody did. */
  readonly aborted: string | null;
  /** Another run was at work already: this one did nothing. */
  readonly skipped: boolean;
}

export const NOTHING: RetentionAmounts = {
  backups: { objects: 0, sizeBytes: 0 },
  log: { objects: 0, sizeBytes: 0 },
  leftovers: { objects: 0, sizeBytes: 0 },
  unfinishedUploads: 0,
};

/** A store in its own repository, or in one of its copies. */
export interface StorePlace {
  readonly store: string;
  readonly copy?: string;
}

/** `orders-db`, `orders-db in offsite`. */
export const placeText = ({ store, copy }: StorePlace): string => (copy === undefined ? store : `${store} in ${copy}`);

export const isNothing = ({ backups, log, leftovers, unfinishedUploads }: RetentionAmounts): boolean =>
  backups.objects + log.objects + leftovers.objects + unfinishedUploads === 0;

export const plus = (a: Amount, b: Amount): Amount => ({
  objects: a.objects + b.objects,
  sizeBytes: a.sizeBytes + b.sizeBytes,
});
