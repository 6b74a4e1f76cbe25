import type { CopiedStore } from './copies';

/** What starters, schedules and backups say to the workflows that copy. */
export interface CopyStoresInput {
  readonly application: string;
  readonly copies: readonly { readonly store: string; readonly copy: string }[];
  readonly requestedBy: string;
  /** Compare everything instead of what can have changed since the last complete run. */
  readonly wholeListing: boolean;
}

/** One store to one repository. */
export interface CopyStoreInput {
  readonly application: string;
  readonly store: string;
  readonly copy: string;
  readonly requestedBy: string;
  readonly wholeListing: boolean;
}

export interface CopyStoresResult {
  readonly copied: readonly CopiedStore[];
  readonly failed: readonly {
    readonly store: string;
    readonly copy: string;
    readonly code: string;
    readonly message: string;
  }[];
  /** Copies that were being made already. */
  readonly skipped: readonly { readonly store: string; readonly copy: string }[];
}
