import type { DnsTarget } from './application';
import type { DnsAnswer, DnsRecord } from './traffic';

/** `api.example.com`, with its type where it is not an A record: part of the ids of steps, and what people read. */
export function recordLabel({ name, type }: Pick<DnsRecord, 'name' | 'type'>): string {
  return type === 'A' ? name : `${name}/${type}`;
}

/** A name that was moved: from `changedAt` on every authoritative server answers the new values. */
export interface MovedName {
  readonly target: DnsTarget;
  readonly answers: readonly DnsAnswer[];
  readonly changedAt: string;
  /** Null where the record did not exist before, or had the new values already. */
  readonly previousTtlSeconds: number | null;
  /** Until then a resolver may hand out the old values without being wrong. */
  readonly staleUntil: string;
}

/** What is kept beside the epochs while the TTL of a record is lowered, so that whoever comes later can restore it. */
export interface LoweredTtl {
  readonly name: string;
  readonly type: DnsRecord['type'];
  /** What the record had before the first lowering. */
  readonly previousTtlSeconds: number;
  readonly ttlSeconds: number;
  readonly loweredAt: string;
  /** From then on no cache holds the record for longer than the lowered TTL; null until the name servers answer so. */
  readonly effectiveAt: string | null;
  readonly by: string;
}

export interface SettleDnsInput {
  readonly application: string;
  readonly site: string;
  readonly epoch: number;
  readonly names: readonly MovedName[];
}

export interface ResolverSettled {
  readonly resolver: string;
  /** From the change at the authoritative servers to the first look that saw it here; null: it was never seen to change. */
  readonly changedAfterSeconds: number | null;
  /** Of the last look: the values, or why there are none. */
  readonly answers: string;
}

export interface NameSettled {
  readonly name: string;
  readonly type: DnsRecord['type'];
  readonly waitedUntil: string;
  /** Authoritative servers that did not answer the new values in the end, in words; empty: all of them do. */
  readonly notAuthoritative: readonly string[];
  readonly resolvers: readonly ResolverSettled[];
}

export interface SettleDnsResult {
  readonly outcome: 'settled' | 'not everywhere' | 'overtaken';
  readonly names: readonly NameSettled[];
}

export interface ChangeTtlInput {
  readonly application: string;
  /** Null: back to what it was before it was lowered. */
  readonly ttlSeconds: number | null;
  readonly requestedBy: string;
}

export interface ChangeTtlResult {
  readonly names: readonly {
    readonly name: string;
    readonly type: DnsRecord['type'];
    readonly ttlSeconds: number;
    readonly previousTtlSeconds: number;
    readonly effectiveAt: string | null;
  }[];
}
