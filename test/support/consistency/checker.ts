import type { Operation, RoleChangeFacts, StoreFacts } from './history';
import { lossViolations } from './losses';
import { registerViolations } from './registers';
import { type Found, isMutation, type Violation, words } from './violation';

/** Every way in which a history contradicts what drctl promises of a role change; empty where it keeps all of it. */
export function violations(history: readonly Operation[], facts: RoleChangeFacts): Violation[] {
  return Object.entries(facts.stores).flatMap(([store, storeFacts]) => {
    const operations = history.filter((operation) => operation.store === store);
    return [
      ...twoPrimaries(operations, facts, storeFacts),
      ...writesAfterTheFence(operations, facts),
      ...totals(operations, storeFacts),
      ...registerViolations(operations, facts, storeFacts),
      ...lossViolations(operations, facts, storeFacts),
    ].map((violation) => ({ ...violation, store }));
  });
}

const acknowledgedAt = (operations: readonly Operation[], site: string) =>
  operations.filter((each) => isMutation(each) && each.outcome === 'ok' && each.site === site);

/**
 * A write that the old primary acknowledged although it was only sent after the new one had acknowledged another. One that was
 * under way at that moment may have been first. A set that elects its leaders may give the lead back, which loses nothing.
 */
function twoPrimaries(
  operations: readonly Operation[],
  { fromSite, toSite }: RoleChangeFacts,
  { electsItself }: StoreFacts,
): Found[] {
  if (electsItself) return [];
  const newPrimarySinceMs = Math.min(...acknowledgedAt(operations, toSite).map(({ endedAtMs }) => endedAtMs));
  return acknowledgedAt(operations, fromSite)
    .filter(({ invokedAtMs }) => invokedAtMs > newPrimarySinceMs)
    .map((each) => ({
      rule: 'two primaries',
      what: `${words(each)}, ${each.invokedAtMs - newPrimarySinceMs} ms after ${toSite} had acknowledged a write`,
    }));
}

function writesAfterTheFence(operations: readonly Operation[], { fromSite, fencedAtMs }: RoleChangeFacts): Found[] {
  if (fencedAtMs === null) return [];
  return acknowledgedAt(operations, fromSite)
    .filter(({ invokedAtMs }) => invokedAtMs > fencedAtMs)
    .map((each) => ({
      rule: 'write after the fence',
      what: `${words(each)}, ${each.invokedAtMs - fencedAtMs} ms after the proof of the fence`,
    }));
}

/** Money is neither made nor destroyed, at either site, at any instant. */
function totals(operations: readonly Operation[], { accounts, survivors }: StoreFacts): Found[] {
  const sum = (balances: readonly number[]) => balances.reduce((total, each) => total + each, 0);
  const wrong = (balances: readonly number[]) =>
    balances.length !== accounts.length || sum(balances) !== sum(accounts) || balances.some((each) => each < 0);
  const found: Found[] = operations.flatMap((each) =>
    each.kind === 'balances' && each.outcome === 'ok' && wrong(each.balances)
      ? [{ rule: 'total', what: `${words(each)}, which is ${sum(each.balances)} and not ${sum(accounts)}` }]
      : [],
  );
  const expected = [...accounts];
  for (const { from, to, amount } of survivors.transfers) {
    expected[from] = (expected[from] ?? 0) - amount;
    expected[to] = (expected[to] ?? 0) + amount;
  }
  if (expected.join() !== survivors.balances.join())
    found.push({
      rule: 'total',
      what: `holds ${survivors.balances.join(' ')}; its transfers make ${expected.join(' ')}`,
    });
  return found;
}
