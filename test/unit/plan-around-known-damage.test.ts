import type { OpenApplication } from '../../activities/deps';
import { planStoreRestore } from '../../activities/plan-restore';
import { chainOf, type Manifest } from '../../core/catalog';
import { failure } from '../../core/errors';
import type { RecoveryTarget, RestorePlan } from '../../core/recovery';
import { testContext } from '../support/call-context';
import { manifestOf } from '../support/manifests';

/** A chain of a full and two incrementals, then another full; proofs say which of them are damaged, at home and in the copy. */
const STORE = 'orders';
const END = '2026-11-20T12:00:00.000Z';
const [FULL, FIRST, SECOND, NEXT] = [
  '20261120T020000Z-full-00000001',
  '20261120T040000Z-incr-00000002',
  '20261120T060000Z-incr-00000003',
  '20261120T080000Z-full-00000004',
] as const;
const backup = (id: string, parent: string | null): Manifest => {
  const consistentAt = `2026-11-20T${id.slice(9, 11)}:00:00.000Z`;
  return manifestOf(id, [], { store: STORE, type: parent ? 'incr' : 'full', parent, consistentAt, lineage: '1' });
};
const BACKUPS = [backup(FULL, null), backup(FIRST, FULL), backup(SECOND, FIRST), backup(NEXT, null)];

/** With a log that reaches from each of them to its end; without, the nearest is all there is. */
const engine = (hasLog: boolean) => ({
  store: STORE,
  async planRestore(
    target: RecoveryTarget,
    { backups }: { readonly backups: readonly Manifest[] },
  ): Promise<RestorePlan> {
    const until = target.kind === 'time' ? target.time : END;
    const byId = target.kind === 'backup' ? target.backupId : null;
    const fits = (each: Manifest) => (byId === null ? each.consistentAt <= until : each.backupId === byId);
    const chosen = backups.findLast((each) => fits(each) && chainOf(each, backups) !== null);
    if (!chosen) throw failure('PitrTargetUnreachable', `nothing reaches ${until}`);
    const chain = chainOf(chosen, backups)!.map(({ backupId }) => backupId);
    const reaches = { time: hasLog && byId === null ? until : chosen.consistentAt, position: null, exact: hasLog };
    return {
      store: STORE,
      engine: 'fake',
      target,
      chain,
      lineage: '1',
      log: null,
      reaches,
      downloadBytes: 0,
      notes: [],
    };
  },
});

function placeOf(damaged: readonly string[], copies: readonly string[] = []) {
  const proofId = '20261121T010000Z-full-failed-0000000a';
  const findings = damaged.map((backupId) => ({
    ...{ store: STORE, backupId, key: `data/${backupId}/vol-1`, severity: 'damage' },
    ...{ problem: 'other bytes', consequence: 'it cannot be restored' },
  }));
  const proof = { proofId, findings, looked: { objects: 4 }, log: [], problem: null, moreFindings: 0, startedAt: END };
  const catalog = {
    list: async () => BACKUPS,
    damaged: async () => [],
    get: async (_: string, id: string) => BACKUPS.find(({ backupId }) => backupId === id),
  };
  return {
    proofs: () => ({ list: async () => (damaged.length > 0 ? [{ proofId, at: END }] : []), get: async () => proof }),
    catalog: () => catalog,
    copies: () => copies.map((name) => ({ name })),
    logArchive: () => null,
  };
}

async function planned(
  target: RecoveryTarget,
  { home, copy, hasLog = true }: { home: readonly string[]; copy?: readonly string[]; hasLog?: boolean },
): Promise<RestorePlan> {
  const own = placeOf(home, copy ? ['offsite'] : []);
  const open = {
    ...own,
    copy: () => placeOf(copy ?? []),
    engine: () => engine(hasLog),
    reading: () => ({ catalog: own.catalog(), log: null, hasCopies: copy !== undefined, elsewhere: () => [] }),
    coldStorage: () => ({ look: async () => null }),
  } as unknown as OpenApplication;
  return planStoreRestore(open, { store: STORE, target }, testContext());
}

const LATEST: RecoveryTarget = { kind: 'latest' };
const passedOver = (id: string) =>
  expect.stringMatching(`^${id} is known to be damaged: .*other bytes.*; it is passed over$`);

test('what a proof found damaged is passed over where another backup leads to the same state', async () => {
  expect(await planned(LATEST, { home: [] })).toMatchObject({ chain: [NEXT], notes: [] });
  const around = await planned(LATEST, { home: [NEXT] });
  expect(around).toMatchObject({ chain: [FULL, FIRST, SECOND], notes: [passedOver(NEXT)], reaches: { time: END } });
  // An incremental of a damaged chain: the full below it, and more of the log.
  const time = { kind: 'time', time: '2026-11-20T07:00:00.000Z' } as const;
  expect(await planned(time, { home: [FIRST] })).toMatchObject({ chain: [FULL], notes: [passedOver(FIRST)] });
  // Only what is in the way is told.
  expect(await planned(time, { home: [FIRST, NEXT] })).toMatchObject({ notes: [passedOver(FIRST)] });
});

test('a copy that has it whole is read; one that is damaged as well is not counted on', async () => {
  expect(await planned(LATEST, { home: [NEXT], copy: [] })).toMatchObject({ chain: [NEXT], notes: [] });
  expect(await planned(LATEST, { home: [NEXT], copy: [NEXT] })).toMatchObject({ chain: [FULL, FIRST, SECOND] });
});

test('where nothing else reaches the target, the plan stays and says what is known', async () => {
  const time = { kind: 'time', time: '2026-11-20T07:00:00.000Z' } as const;
  const said = (why: string) => [expect.stringMatching(`^${FULL} is known to be damaged: .*; ${why}$`)];
  const stuck = await planned(time, { home: [FULL] });
  expect(stuck).toMatchObject({ chain: [FULL, FIRST, SECOND], notes: said('nothing else reaches the target') });
  const asked = await planned({ kind: 'backup', backupId: FULL }, { home: [FULL] });
  expect(asked).toMatchObject({ chain: [FULL], notes: said('it is what was asked for') });
  // Without a log an older backup is an older state.
  const older = await planned(LATEST, { home: [NEXT], hasLog: false });
  expect(older).toMatchObject({ chain: [NEXT], notes: [expect.stringMatching(/nothing else reaches the target$/)] });
});
