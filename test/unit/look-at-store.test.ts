import type { OpenApplication } from '../../activities/deps';
import type { KnownDamage } from '../../activities/known-damage';
import { look, type LookDepth } from '../../activities/look-at-store';
import { createCatalog } from '../../adapters/catalog/catalog';
import { sealed } from '../../adapters/catalog/stored-json';
import { type Manifest, withWholeChains } from '../../core/catalog';
import { failure } from '../../core/errors';
import { backupIdOf, layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { manifestOf } from '../support/manifests';
import { countOf, seededRandom } from '../support/random';

/**
 * How far a store can be restored, against a model: some days of backups, log with holes, and backups that proofs found damaged.
 * What a quick look does not read must change nothing of the answer.
 */
const STORE = 'orders';
const HOUR = 3_600_000;
const NOW = Date.now();
const hoursAgo = (hours: number) => new Date(NOW - hours * HOUR).toISOString();

interface World {
  readonly backups: readonly Manifest[];
  /** Hours ago at which the log begins anew; ascending. */
  readonly holes: readonly number[];
  readonly hasLog: boolean;
}

function openOf({ backups, holes, hasLog }: World, reads: string[]): OpenApplication {
  const objects = new Map(backups.map((each) => [layout.manifest(STORE, each.backupId), sealed(each)]));
  const described = (key: string) => ({ key, sizeBytes: objects.get(key)!.length, modifiedAt: hoursAgo(0) });
  const repository = {
    location: 'here',
    async *list(prefix: string, { after = '' } = {}) {
      const keys = [...objects.keys()].toSorted();
      yield* keys.filter((key) => key.startsWith(prefix) && key > after).map(described);
    },
    head: async (key: string) => (objects.has(key) ? described(key) : null),
    async read(key: string) {
      reads.push(key);
      const bytes = objects.get(key);
      if (!bytes) throw failure('NotFound', key);
      return bytes;
    },
  } as unknown as Repository;
  const catalog = createCatalog(repository);
  /** Up to the first hole behind it. */
  const reachOf = (at: string) =>
    holes
      .map(hoursAgo)
      .toSorted()
      .find((hole) => hole > at) ?? hoursAgo(0);
  return {
    catalog: () => catalog,
    copies: () => [],
    logArchive: () => (hasLog ? {} : null),
    engine: () => ({
      windows: async ({ backups: given }: { backups: readonly Manifest[] }) =>
        withWholeChains(given).map(({ consistentAt: from }) => ({
          from,
          to: reachOf(from),
          lineage: '1',
          exact: true,
        })),
    }),
  } as unknown as OpenApplication;
}

const seeded = seededRandom('look-at-store');

function randomWorld(): { readonly world: World; readonly known: KnownDamage } {
  const every = 2 + seeded.integer(8);
  const count = 1 + seeded.integer(30);
  const fullEach = 1 + seeded.integer(8);
  const backups: Manifest[] = [];
  for (let nth = 0; nth < count; nth += 1) {
    const at = hoursAgo((count - nth) * every - 1);
    const before = backups.at(-1);
    const parent = nth % fullEach === 0 || !before ? null : before.backupId;
    const type = parent === null ? 'full' : 'incr';
    const backupId = backupIdOf(at, type, String(nth).padStart(8, '0'));
    backups.push(
      manifestOf(backupId, [], { store: STORE, type, parent, startedAt: at, consistentAt: at, committedAt: at }),
    );
  }
  const holes = Array.from({ length: seeded.integer(3) }, () => 0.5 + seeded.integer(60));
  const damaged = backups.filter(() => seeded.integer(12) === 0);
  const known = damaged.map(({ backupId }) => ({ store: STORE, backupId, problem: 'other bytes' }));
  return { world: { backups, holes, hasLog: seeded.integer(4) > 0 }, known: { backups: known, log: [] } };
}

test('a quick look finds what a long one finds, and both what can be restored without what is damaged', async () => {
  for (let round = 0; round < countOf('ROUNDS', 60); round += 1) {
    const { world, known } = randomWorld();
    const looked = async (depth: LookDepth) => {
      const reads: string[] = [];
      const { reach, backups } = await look(openOf(world, reads), STORE, hoursAgo(0), known, depth);
      const told = reach.gaps.filter(({ to }) => to >= hoursAgo(24));
      return { reads: reads.length, found: { until: reach.until, told, newest: backups.at(-1)?.backupId } };
    };
    const [counted, newest, vouched] = [await looked('counted'), await looked('newest'), await looked('vouched')];
    expect(newest.found).toEqual(counted.found);
    expect(vouched.found).toEqual(counted.found);
    const lost = new Set(known.backups.map(({ backupId }) => backupId));
    const sound = withWholeChains(world.backups.filter(({ backupId }) => !lost.has(backupId)));
    const windows = await openOf({ ...world, hasLog: true }, [])
      .engine(STORE)
      .windows({ backups: sound, log: null });
    const reached = world.hasLog
      ? windows
          .map(({ to }) => to)
          .toSorted()
          .at(-1)
      : sound.at(-1)?.consistentAt;
    expect(counted.found.until).toBe(reached ?? null);
  }
});

test('of a sound store a quick look reads the newest chain and one full', async () => {
  const at = (nth: number) => hoursAgo((12 - nth) * 4 - 3);
  const ids = Array.from({ length: 12 }, (_, nth) =>
    backupIdOf(at(nth), nth % 6 === 0 ? 'full' : 'incr', `0000000${nth % 10}`),
  );
  const backups = ids.map((id, nth) => {
    const times = { startedAt: at(nth), consistentAt: at(nth), committedAt: at(nth) };
    return manifestOf(id, [], {
      store: STORE,
      type: nth % 6 === 0 ? 'full' : 'incr',
      parent: nth % 6 === 0 ? null : ids[nth - 1]!,
      ...times,
    });
  });
  const reads: string[] = [];
  const none = { backups: [], log: [] };
  const { reach } = await look(
    openOf({ backups, holes: [], hasLog: true }, reads),
    STORE,
    hoursAgo(0),
    none,
    'vouched',
  );
  expect(reach).toEqual({ until: hoursAgo(0), gaps: [], problem: null });
  expect(reads.toSorted()).toEqual([ids[0]!, ...ids.slice(6)].map((id) => layout.manifest(STORE, id)));
});
