import type { ActivityDeps } from '../../activities/deps';
import { createHealthActivities } from '../../activities/health';
import type { DamagedManifest } from '../../core/catalog-store';
import type { StoreProbe } from '../../core/engine';
import { failure } from '../../core/errors';
import type { CheckHealthResult } from '../../core/runs';
import { serverLines } from '../../starters/commands/status';
import { inActivity } from '../support/in-activity';
import { manifestOf } from '../support/manifests';
import { shop } from '../support/shop-application';

const damage: DamagedManifest = {
  store: 'orders',
  backupId: '20261120T020000Z-full-00000001',
  problem: 'catalog/orders/20261120T020000Z-full-00000001.json is not JSON',
};

const SETTING = 'full_page_writes is off: ALTER SYSTEM SET full_page_writes = on';

/** Of a store that lives at two sites; the server at the second does not answer. */
async function probe(site: string): Promise<Partial<StoreProbe>> {
  if (site === 'lab') throw failure('NotFound', 'orders has no site lab');
  return site === 'primary'
    ? { site, reachable: true, role: 'primary', writable: true, problems: [SETTING] }
    : { site, reachable: false, role: 'unknown', writable: null, problems: ['no answer'] };
}

async function healthOf(
  damaged: readonly DamagedManifest[],
  look: typeof probe = probe,
  startedAt = new Date().toISOString(),
  windows: (() => Promise<never>) | null = null,
  copies: readonly object[] = [],
): Promise<CheckHealthResult> {
  const committedAt = new Date().toISOString();
  const newest = manifestOf('20261121T020000Z-full-00000002', [], {
    startedAt,
    committedAt,
    consistentAt: committedAt,
  });
  const open = {
    application: {
      sites: ['primary', 'dr', 'lab'],
      stores: [{ name: 'orders', engine: 'postgresql', rpoSeconds: 60, hasLog: true, hasReplication: true }],
      monitoring: shop.monitoring,
    },
    engine: () => ({ probe: look, windows }),
    catalog: () => ({
      survey: async () => ({ ids: [newest.backupId], backups: [newest], damaged: [] }),
      newest: async () => ({ backups: [newest], damaged: [] }),
      damaged: async () => damaged,
    }),
    proofs: () => ({ list: async () => [] }),
    logArchive: () => (windows ? {} : null),
    copies: () => copies,
  };
  const deps = { open: () => open } as unknown as ActivityDeps;
  const health = createHealthActivities(deps);
  return inActivity(() => health.checkStores({ application: 'shop' }));
}

test('a store with a fresh backup is healthy; a manifest that cannot be read beside it is shown', async () => {
  expect((await healthOf([])).stores).toMatchObject([{ status: 'healthy', reasons: [] }]);
  const { stores } = await healthOf([damage]);
  expect(stores).toMatchObject([
    { status: 'warning', reasons: [{ alert: 'backupDamaged', text: expect.stringContaining(damage.problem) }] },
  ]);
});

test.each([
  ['close behind', { completeUntil: new Date().toISOString(), notCopied: [] }, []],
  [
    'too far behind',
    { completeUntil: '2026-01-01T00:00:00.000Z', notCopied: [] },
    ['its copy in offsite is .* behind'],
  ],
  ['never made, since the first backup in November', null, ['its copy in offsite was never complete']],
  [
    'without what is damaged',
    { completeUntil: new Date().toISOString(), notCopied: [{ key: 'k', problem: 'p' }] },
    ['1 object of it cannot be copied to offsite'],
  ],
])('a copy %s', async (_, record, texts) => {
  const copier = { record: async () => record };
  const copies = [{ name: 'offsite', maxLagSeconds: 3_600, copier }];
  const { stores } = await healthOf([], probe, undefined, null, copies);
  const reasons = texts.map((text) => ({ alert: 'copyBehind', status: 'warning', text: expect.stringMatching(text) }));
  expect(stores).toMatchObject([{ status: texts.length > 0 ? 'warning' : 'healthy', reasons }]);
});

test('a copy that cannot be seen is a warning, and hides nothing else', async () => {
  const record = () => Promise.reject(failure('AccessDenied', 'offsite refuses'));
  const { stores } = await healthOf([], probe, undefined, null, [
    { name: 'offsite', maxLagSeconds: 3_600, copier: { record } },
  ]);
  expect(stores).toMatchObject([
    { status: 'warning', reasons: [{ alert: 'copyBehind', text: expect.stringContaining('offsite refuses') }] },
  ]);
});

test('a store whose log cannot be read is judged all the same, and says why', async () => {
  const damagedHistory = async () => {
    throw failure('BackupCorrupt', '00000002.history and its SHA-256 differ');
  };
  const { stores } = await healthOf([], probe, new Date().toISOString(), damagedHistory);
  expect(stores).toMatchObject([
    { status: 'error', reasons: [{ alert: 'rpoBreached', text: expect.stringContaining('00000002.history') }] },
  ]);
});

test('what an administrator should mend is named with its site and setting, and alarms nobody by itself', async () => {
  const { stores } = await healthOf([]);
  expect(stores).toMatchObject([
    { status: 'healthy', problems: [`orders at primary: ${SETTING}`, 'orders at dr: no answer'] },
  ]);
});

test('a chain that is about to end for want of a backup is told of at the primary, before and after', async () => {
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
  const look = async (site: string): Promise<Partial<StoreProbe>> => ({
    ...(await probe(site)),
    at: new Date().toISOString(),
    incrementalWithinSeconds: 10 * 86_400,
  });
  const told = async (days: number) => (await healthOf([], look, daysAgo(days))).stores[0]!.problems.join('\n');
  expect(await told(7.9)).not.toMatch(/newest backup/);
  expect(await told(8.1)).toMatch(
    /^orders at primary: the newest backup began 8d 2h ago, and an incremental can build on it only within 10d 0h: take one before, or the next is a full$/m,
  );
  expect(await told(11)).toMatch(/could build on it only within 10d 0h: the next is a full/);
  expect(await told(11)).not.toMatch(/orders at dr: the newest/);
});

test('the status screen says how many servers answer, and that it looked where there is nothing to mend', () => {
  const server = { store: 'orders', site: 'primary', reachable: true, role: 'primary', writable: true } as const;
  expect(serverLines([{ ...server, problems: [SETTING] }])).toEqual(['1 of 1 servers answer from this machine']);
  expect(serverLines([{ ...server, problems: [] }])).toEqual([
    '1 of 1 servers answer from this machine, nothing to mend',
  ]);
});

test.each(['', 'null', '{"result":', '{}', '[1]'])(
  'a damaged health.json (%j) is none, and is said to be',
  async (text) => {
    const control = { location: 's3://control/shop', read: async () => Buffer.from(text) };
    const deps = { open: () => ({ application: shop, control }) } as unknown as ActivityDeps;
    const health = createHealthActivities(deps);
    expect(await inActivity(() => health.lastHealth({ application: 'shop' }))).toEqual({
      kept: null,
      repeatAfterSeconds: shop.monitoring.repeatAfterSeconds,
      problem: expect.stringMatching(/^monitoring\/health\.json in s3:\/\/control\/shop is damaged/),
    });
  },
);
