import type { Operation, Read, RoleChangeFacts, StoreFacts, Write } from './history';
import { type Found, words } from './violation';

/** Every register by itself: linearizable within a site's reign, and never behind what the new primary acknowledged. */
export function registerViolations(
  operations: readonly Operation[],
  facts: RoleChangeFacts,
  { electsItself, survivors }: StoreFacts,
): Found[] {
  const writes = operations.filter((each) => each.kind === 'write');
  const reads = operations.filter((each) => each.kind === 'read').filter(({ outcome }) => outcome === 'ok');
  const registers = new Set([...writes, ...reads].map(({ register }) => register));
  for (const register of Object.keys(survivors.writes)) registers.add(register);
  return [...registers].flatMap((register) => {
    const of = writes.filter((each) => each.register === register);
    return [
      ...staleReads(
        of,
        reads.filter((each) => each.register === register),
        (seen, by) => electsItself || seen.site === by.site || seen.site === facts.toSite,
      ),
      ...writtenValues(register, of, survivors.writes[register] ?? []),
    ];
  });
}

/**
 * `binds`: whether a read must not be behind that other operation. What the old primary acknowledged does not bind the new one:
 * its loss has a price of its own.
 */
function staleReads(
  writes: readonly Write[],
  reads: readonly Read[],
  binds: (seen: Write | Read, by: Read) => boolean,
): Found[] {
  const written = new Map(writes.map((write) => [write.value, write]));
  const acknowledged = writes.filter(({ outcome }) => outcome === 'ok');
  return reads.flatMap((read): Found[] => {
    const source = written.get(read.value);
    if (read.value !== 0 && (!source || source.invokedAtMs > read.endedAtMs))
      return [{ rule: 'value from nowhere', what: `${words(read)}; nobody had begun to write it` }];
    if (source?.outcome === 'fail')
      return [{ rule: 'effect of a failure', what: `${words(read)}, of ${words(source)}` }];
    // A write of unknown fate may take effect at any later time, also after a newer one.
    if (source?.outcome === 'unknown') return [];
    const newer = [...acknowledged, ...reads].find(
      (each) => each.value > read.value && each.endedAtMs < read.invokedAtMs && binds(each, read),
    );
    return newer ? [{ rule: 'stale read', what: `${words(read)}, after ${words(newer)}` }] : [];
  });
}

/** What a register had, write by write: only what somebody wrote, once, and acknowledged values in the order of their writing. */
function writtenValues(register: string, writes: readonly Write[], values: readonly number[]): Found[] {
  const written = new Map(writes.map((write) => [write.value, write]));
  const found: Found[] = [];
  for (const [index, value] of values.entries()) {
    const source = written.get(value);
    if (!source) found.push({ rule: 'value from nowhere', what: `${register} had ${value}, which nobody wrote` });
    else if (source.outcome === 'fail') found.push({ rule: 'effect of a failure', what: words(source) });
    if (values.indexOf(value) !== index) found.push({ rule: 'written twice', what: `${register} had ${value} again` });
  }
  const inOrder = values.filter((value) => written.get(value)?.outcome === 'ok');
  const late = inOrder.findIndex((value, index) => index > 0 && value < (inOrder[index - 1] ?? 0));
  if (late > 0) found.push({ rule: 'order', what: `${register} had ${inOrder[late]} after ${inOrder[late - 1]}` });
  return found;
}
