import type { OrderContent } from '../shop/orders';

/** The first line of a journal. Times are ISO 8601 in UTC with milliseconds, of the client's clock. */
export interface StartedEntry {
  kind: 'started';
  seed: string;
  startedAt: string;
}

/** Written before a byte of the request leaves. A repetition of the same order is another `sent` of the same id. */
export interface SentEntry extends OrderContent {
  kind: 'sent';
  seq: number;
  sentAt: string;
  digest: string;
}

/** Written after the whole reply was received. */
export interface AcknowledgedEntry {
  kind: 'acknowledged';
  id: string;
  acknowledgedAt: string;
  /** 201 for a new order, 200 for one that the shop had from an earlier try. */
  status: number;
  /** PostgreSQL's clock after its commit. */
  committedAt: string;
  site: string;
}

export interface FailedEntry {
  kind: 'failed';
  id: string;
  failedAt: string;
  error: string;
  /** False only where it is certain that the shop did not carry the order out: it was never sent, or was refused. */
  ambiguous: boolean;
}

export type JournalEntry = StartedEntry | SentEntry | AcknowledgedEntry | FailedEntry;
