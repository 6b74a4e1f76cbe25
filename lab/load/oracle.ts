import { isDeepStrictEqual } from 'node:util';
import type { OrderContent } from '../shop/orders';
import type { Journal, JournalOrder } from './journal-reader';

export interface Classification {
  mustBePresent: JournalOrder[];
  mustBeAbsent: JournalOrder[];
  /** Under way at the target: either is right. */
  inFlight: JournalOrder[];
}

/**
 * What a store restored to the target time has to contain, by the client's own clock and nothing that a server says:
 * everything acknowledged before the target is present, nothing first sent after it is, what was under way may be either.
 * An order that was certainly not placed is absent at any time. A target is precise to the millisecond, as the journal is.
 */
export function classify(journal: Journal, targetTime: Date | string | number): Classification {
  const targetMs = timeOf(targetTime);
  const result: Classification = { mustBePresent: [], mustBeAbsent: [], inFlight: [] };
  for (const order of journal.orders.values()) {
    // A try that certainly came to nothing did not place the order, so the time counts from the next one.
    const firstEffective = order.attempts.find(({ outcome }) => outcome !== 'not-placed');
    if (!firstEffective || firstEffective.sentAtMs > targetMs) result.mustBeAbsent.push(order);
    else if (order.acknowledged && order.acknowledged.atMs < targetMs) result.mustBePresent.push(order);
    else result.inFlight.push(order);
  }
  return result;
}

export interface AlteredOrder {
  id: string;
  field: 'customer' | 'items' | 'amountCents' | 'duplicate';
  expected: unknown;
  found: unknown;
}

export interface OrderComparison {
  /** True when nothing is missing, unexpected or altered. */
  ok: boolean;
  /** How many orders had to be present and are, with equal content. */
  confirmed: number;
  /** Acknowledged before the target, and not there: lost. */
  missing: JournalOrder[];
  /** There, though first sent after the target, certainly never placed, or not in the journal at all. */
  unexpected: Array<{ id: string; reason: 'sent-after-target' | 'never-placed' | 'not-in-journal' }>;
  altered: AlteredOrder[];
  inFlightPresent: string[];
  inFlightAbsent: string[];
}

export interface CompareOptions {
  /**
   * Orders first sent before this time are left out of the comparison, present or not. For a store that lost them on
   * purpose, such as the running shop after the accident of the demo.
   */
  sentSince?: Date | string | number;
  /** Rows that someone else wrote and that the journal therefore cannot know. Without it every such row is unexpected. */
  isForeign?: (row: OrderContent) => boolean;
}

/** Compares the rows of one store, by content and field by field, with what the journal says about the target time. */
export function compareOrders(
  rows: Iterable<OrderContent>,
  journal: Journal,
  targetTime: Date | string | number,
  { sentSince, isForeign = () => false }: CompareOptions = {},
): OrderComparison {
  const sinceMs = sentSince === undefined ? -Infinity : timeOf(sentSince);
  const concerns = (order: JournalOrder) => (order.attempts[0]?.sentAtMs ?? 0) >= sinceMs;
  const { mustBePresent, mustBeAbsent, inFlight } = classify(journal, targetTime);
  const found = new Set<string>();
  const altered: AlteredOrder[] = [];
  const unexpected: OrderComparison['unexpected'] = [];
  for (const row of rows) {
    const order = journal.orders.get(row.id);
    if (!order) {
      if (!isForeign(row)) unexpected.push({ id: row.id, reason: 'not-in-journal' });
      continue;
    }
    if (!concerns(order)) continue;
    if (found.has(row.id)) altered.push({ id: row.id, field: 'duplicate', expected: 'one row', found: 'several' });
    else altered.push(...differences(order.content, row));
    found.add(row.id);
  }
  for (const order of mustBeAbsent) {
    const { id } = order.content;
    const sent = order.attempts.some(({ outcome }) => outcome !== 'not-placed');
    if (found.has(id)) unexpected.push({ id, reason: sent ? 'sent-after-target' : 'never-placed' });
  }
  const required = mustBePresent.filter(concerns);
  const alteredIds = new Set(altered.map(({ id }) => id));
  const undecided = inFlight.filter(concerns).map(({ content }) => content.id);
  const missing = required.filter(({ content }) => !found.has(content.id));
  return {
    ok: missing.length === 0 && unexpected.length === 0 && altered.length === 0,
    confirmed: required.filter(({ content: { id } }) => found.has(id) && !alteredIds.has(id)).length,
    missing,
    unexpected,
    altered,
    inFlightPresent: undecided.filter((id) => found.has(id)),
    inFlightAbsent: undecided.filter((id) => !found.has(id)),
  };
}

function differences(expected: OrderContent, found: OrderContent): AlteredOrder[] {
  return (['customer', 'items', 'amountCents'] as const)
    .filter((field) => !isDeepStrictEqual(expected[field], found[field]))
    .map((field) => ({ id: expected.id, field, expected: expected[field], found: found[field] }));
}

function timeOf(time: Date | string | number): number {
  const timeMs = new Date(time).getTime();
  if (Number.isNaN(timeMs)) throw new Error(`"${String(time)}" is not a time`);
  return timeMs;
}
