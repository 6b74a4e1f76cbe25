import { createCatchUpActivities } from '../../activities/catch-up';
import type { ActivityDeps } from '../../activities/deps';
import { failure } from '../../core/errors';
import type { Use } from '../../core/retention/records';
import { inActivity } from '../support/in-activity';

/** What retention is told while a standby is given what only the archive has. */
function world(catchUp: () => unknown, { withdraws = true } = {}) {
  const uses: Use[] = [];
  const during: Use[][] = [];
  const open = {
    application: { name: 'shop' },
    epochs: { current: async () => ({ epoch: 3 }) },
    logArchive: () => ({}),
    engine: () => ({
      replication: {
        catchUp: async () => {
          during.push([...uses]);
          return catchUp();
        },
      },
    }),
    retentionStore: () => ({
      announce: async (use: Use) => void uses.push(use),
      withdraw: async () => {
        if (!withdraws) throw failure('RepositoryUnavailable', 'it is away');
        uses.length = 0;
      },
    }),
  };
  const activities = createCatchUpActivities({ open: () => open } as unknown as ActivityDeps);
  const input = { application: 'shop', store: 'orders', site: 'dr', epoch: 3, withinSeconds: 5 };
  return { uses, during, run: () => inActivity(() => activities.catchUpStore(input)) };
}

test('as long as archived log is read none of the store is deleted, and not longer', async () => {
  const { run, during, uses } = world(() => ({ fed: true }));
  await expect(run()).resolves.toEqual({ fed: true });
  expect(during).toEqual([[expect.objectContaining({ store: 'orders', kind: 'restore', backups: [] })]]);
  expect(uses).toEqual([]);
});

test('a catch-up that fails reads no more either', async () => {
  const { run, during, uses } = world(() => {
    throw failure('CatchUpIncomplete', 'a piece is missing');
  });
  await expect(run()).rejects.toThrow('a piece is missing');
  expect([during[0]?.length, uses.length]).toEqual([1, 0]);
});

test('a word that cannot be taken back holds no promotion up: it lapses', async () => {
  const { run, uses } = world(() => ({ fed: false }), { withdraws: false });
  await expect(run()).resolves.toEqual({ fed: false });
  expect(uses).toHaveLength(1);
});
