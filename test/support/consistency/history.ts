/**
 * What clients of the shop's stores did and what they know of it, in the manner of Jepsen: a bank whose transfers keep its
 * total, and registers. Every register has one writer, who writes 1, 2, 3 and so on, so that a value says how new it is.
 */
export type Operation = Transfer | Balances | Write | Read;

/** `fail`: it certainly had no effect. `unknown`: it had one, or has it later, or never. */
export type Outcome = 'ok' | 'fail' | 'unknown';

interface OperationBase {
  readonly client: string;
  readonly store: string;
  /** The site whose server answered; the one that was asked where none did. */
  readonly site: string;
  /** By the one clock of the test, as is the end: its answer, its refusal, or its client's patience. */
  readonly invokedAtMs: number;
  readonly endedAtMs: number;
  readonly outcome: Outcome;
  /** Why it is not ok. */
  readonly error?: string;
}

interface Mutation extends OperationBase {
  /** A position in the old lineage's log that its commit lies beyond, where the store tells one. */
  readonly logBytes?: number;
}

export interface Transfer extends Mutation {
  readonly kind: 'transfer';
  readonly id: string;
  readonly from: number;
  readonly to: number;
  readonly amount: number;
}

export interface Write extends Mutation {
  readonly kind: 'write';
  readonly register: string;
  readonly value: number;
}

/** All accounts at one instant, in the order of their numbers; empty unless ok. */
export interface Balances extends OperationBase {
  readonly kind: 'balances';
  readonly balances: readonly number[];
}

export interface Read extends OperationBase {
  readonly kind: 'read';
  readonly register: string;
  /** 0: never written. Meaningless unless ok. */
  readonly value: number;
}

/** What one store holds when everything is over. */
export interface Survivors {
  readonly balances: readonly number[];
  readonly transfers: readonly Pick<Transfer, 'id' | 'from' | 'to' | 'amount'>[];
  /** Every value that a register ever had, in the order of the writes. */
  readonly writes: Readonly<Record<string, readonly number[]>>;
}

/** What may be lost: seconds back from the last write that the old primary acknowledged. Null where it is not known. */
export interface LossBound {
  readonly operations: number | null;
  readonly seconds: number | null;
  readonly bytes: number | null;
}

export interface StoreFacts {
  /** What each account began with; empty for a store without a bank. */
  readonly accounts: readonly number[];
  /** Its members agree on a leader among themselves and acknowledge by majority: nothing is ever lost, whoever leads. */
  readonly electsItself: boolean;
  readonly bound: LossBound;
  /** Where the new lineage begins in the measure of `logBytes`; null where the store does not say. */
  readonly takenOverAtBytes: number | null;
  readonly survivors: Survivors;
}

/** How the role change went. */
export interface RoleChangeFacts {
  readonly fromSite: string;
  readonly toSite: string;
  /** The stores of the other site were promoted. Where not, nothing may be lost. */
  readonly promoted: boolean;
  /** When the old site was proven to be unable to write; null where it was not fenced, or is no more. */
  readonly fencedAtMs: number | null;
  readonly stores: Readonly<Record<string, StoreFacts>>;
}
