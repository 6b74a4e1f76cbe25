import { archivedBeyond as beyond } from '../../activities/archived-beyond';
import type { OpenApplication } from '../../activities/deps';
import type { LogEntry } from '../../core/log-archive';
import type { ReplicaState } from '../../core/replication';
import { testContext } from '../support/engine-harness';

const archivedBeyond = (open: OpenApplication, store: string, state: ReplicaState | null) =>
  beyond(open, store, state, testContext());

const at = (value: number) => ({ engine: 'fake', lineage: '7/1', value: `${value}` });
const positions = {
  compare: (a: { value: string }, b: { value: string }) => Number(a.value) - Number(b.value),
  format: ({ value }: { value: string }) => value,
};
const entry = (to: number) => ({ lineage: '7/1', to: at(to), coversUntil: null }) as unknown as LogEntry;
const standby = { position: at(250) } as ReplicaState;

const opened = (
  entries: () => Promise<LogEntry[]>,
  coversUntil: string | null = '2026-11-22T13:04:59.000Z',
  replication: object | null = null,
) =>
  ({
    logArchive: () => ({ entries, resolve: async (newest: LogEntry) => ({ ...newest, coversUntil }) }),
    engine: () => ({ positions, replication }),
  }) as unknown as OpenApplication;

test('what the archive has beyond the standby is told with until when, whichever entry reaches furthest', async () => {
  // After two archivers overlapped, the last entry is not always the one that reaches furthest.
  const open = opened(async () => [100, 300, 280].map(entry));
  expect(await archivedBeyond(open, 'orders', standby)).toBe(
    'its archived log reaches 300, all until 2026-11-22T13:04:59.000Z, the standby 250: ' +
      'what lies between is lost to a promotion, and restored by `drctl restore`',
  );
  const catchesUp = opened(async () => [entry(300)], null, { catchUp: () => undefined });
  expect(await archivedBeyond(catchesUp, 'orders', standby)).toMatch(
    /the standby 250: what lies between is replayed there before the promotion, and is lost only where that is skipped$/,
  );
  expect(
    await archivedBeyond(
      opened(async () => [entry(300)], null),
      'orders',
      standby,
    ),
  ).toMatch(/300, the standby/);
});

test('nothing is told where there is nothing more, nothing to compare, or no answer in time', async () => {
  const none = async (open: OpenApplication, state: ReplicaState | null = standby) =>
    archivedBeyond(open, 'orders', state);
  expect(await none(opened(async () => [entry(250)]))).toBeNull();
  expect(await none(opened(async () => []))).toBeNull();
  expect(
    await none(
      opened(async () => [entry(300)]),
      null,
    ),
  ).toBeNull();
  expect(await none({ logArchive: () => null } as unknown as OpenApplication)).toBeNull();
  expect(await none(opened(async () => Promise.reject(new Error('no bucket'))))).toBeNull();
  jest.useFakeTimers({ advanceTimers: 100 });
  try {
    expect(await none(opened(() => new Promise(() => undefined)))).toBeNull();
  } finally {
    jest.useRealTimers();
  }
});
