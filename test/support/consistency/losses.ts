import type { LossBound, Operation, RoleChangeFacts, StoreFacts, Survivors, Transfer, Write } from './history';
import { type Found, isMutation, words } from './violation';

type Mutation = Transfer | Write;

/** Nothing that was acknowledged is missing but what the approval card priced, and nothing is there that was never done. */
export function lossViolations(operations: readonly Operation[], facts: RoleChangeFacts, store: StoreFacts): Found[] {
  const mutations = operations.filter(isMutation);
  const survived = survival(store.survivors);
  const acknowledged = mutations.filter(({ outcome }) => outcome === 'ok');
  const ofOldSite = acknowledged.filter(({ site }) => site === facts.fromSite);
  const lost = acknowledged.filter((each) => !survived(each));
  // Only the old primary's may be missing, and only where another took its place without its help.
  const priced = lost.filter(({ site }) => facts.promoted && !store.electsItself && site === facts.fromSite);
  const unpriced = lost.filter((each) => !priced.includes(each));
  return [
    ...transfersFromNowhere(mutations, store.survivors),
    ...unpriced.map((each): Found => ({ rule: 'loss', what: `${words(each)}, and it is gone` })),
    ...beyondTheBound(priced, ofOldSite, store),
    ...holes(priced, ofOldSite.filter(survived)),
  ];
}

function survival({ transfers, writes }: Survivors): (mutation: Mutation) => boolean {
  const ids = new Set(transfers.map(({ id }) => id));
  const values = new Map(Object.entries(writes).map(([register, all]) => [register, new Set(all)]));
  return (mutation) =>
    mutation.kind === 'transfer' ? ids.has(mutation.id) : (values.get(mutation.register)?.has(mutation.value) ?? false);
}

function transfersFromNowhere(mutations: readonly Mutation[], { transfers }: Survivors): Found[] {
  const sent = new Map(mutations.flatMap((each) => (each.kind === 'transfer' ? [[each.id, each] as const] : [])));
  const content = ({ from, to, amount }: Pick<Transfer, 'from' | 'to' | 'amount'>) => `${from} to ${to}: ${amount}`;
  return transfers.flatMap((transfer): Found[] => {
    const source = sent.get(transfer.id);
    if (!source || content(source) !== content(transfer))
      return [{ rule: 'value from nowhere', what: `transfer ${transfer.id} (${content(transfer)}) was never sent so` }];
    return source.outcome === 'fail' ? [{ rule: 'effect of a failure', what: words(source) }] : [];
  });
}

/** The price that a person signed. What of it is not known bounds nothing: the card says so, and never zero. */
function beyondTheBound(
  priced: readonly Mutation[],
  acknowledged: readonly Mutation[],
  { bound, takenOverAtBytes }: StoreFacts,
): Found[] {
  if (priced.length === 0) return [];
  const oldest = Math.min(...priced.map(({ endedAtMs }) => endedAtMs));
  const newest = Math.max(...acknowledged.map(({ endedAtMs }) => endedAtMs));
  const newestBytes = Math.max(...priced.flatMap(({ logBytes }) => logBytes ?? []));
  const actual: Readonly<Record<keyof LossBound, number | null>> = {
    operations: priced.length,
    seconds: (newest - oldest) / 1_000,
    bytes: takenOverAtBytes === null || newestBytes === -Infinity ? null : newestBytes - takenOverAtBytes,
  };
  return (['operations', 'seconds', 'bytes'] as const).flatMap((unit): Found[] => {
    const [lost, most] = [actual[unit], bound[unit]];
    if (lost === null || most === null || lost <= most) return [];
    return [{ rule: 'loss', what: `${lost} ${unit} are lost, at most ${most} were shown to the approver` }];
  });
}

/** A log is lost from its end: nothing survives that was begun after something lost had been acknowledged. */
function holes(lost: readonly Mutation[], survived: readonly Mutation[]): Found[] {
  return lost.flatMap((each): Found[] => {
    const later = survived.find(({ invokedAtMs }) => invokedAtMs > each.endedAtMs);
    return later ? [{ rule: 'hole', what: `${words(each)} is gone, and the later ${words(later)} is not` }] : [];
  });
}
