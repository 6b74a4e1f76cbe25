import type { Operation, Transfer, Write } from './history';

export interface Violation {
  readonly rule:
    | 'two primaries'
    | 'write after the fence'
    | 'total'
    | 'stale read'
    | 'value from nowhere'
    | 'effect of a failure'
    | 'written twice'
    | 'order'
    | 'hole'
    | 'loss';
  readonly store: string;
  readonly what: string;
}

export type Found = Omit<Violation, 'store'>;

export const isMutation = (operation: Operation): operation is Transfer | Write =>
  operation.kind === 'transfer' || operation.kind === 'write';

/** For people: what it was, of whom, when. */
export function words(operation: Operation): string {
  const { client, site, invokedAtMs, endedAtMs, outcome } = operation;
  const time = (milliseconds: number) => new Date(milliseconds).toISOString().slice(11, 23);
  return `${label(operation)} by ${client} at ${site}, ${time(invokedAtMs)} to ${time(endedAtMs)}: ${outcome}`;
}

function label(operation: Operation): string {
  if (operation.kind === 'transfer') return `transfer ${operation.id}`;
  if (operation.kind === 'balances') return `balances ${operation.balances.join(' ')}`;
  return `${operation.kind} ${operation.register} = ${operation.value}`;
}
