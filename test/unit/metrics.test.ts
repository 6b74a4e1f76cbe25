import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createProofs } from '../../adapters/catalog/proofs';
import { prometheusText } from '../../adapters/metrics/prometheus';
import { createRepository } from '../../adapters/repository';
import type { Manifest } from '../../core/catalog';
import { failure } from '../../core/errors';
import { backupIdOf, layout } from '../../core/layout';
import { applicationMetrics } from '../../core/monitoring/application-metrics';
import type { ApplicationFacts } from '../../core/monitoring/facts';
import { countBackups, countFailures, EMPTY_TALLY } from '../../core/monitoring/tally';
import type { Repository } from '../../core/repository';
import { ApplicationFigures } from '../../workers/metrics/application-figures';
import type { RunsOfTemporal } from '../../workers/metrics/collector';
import { serveMetrics } from '../../workers/metrics/endpoint';
import type { WiredApplication } from '../../workers/wiring';
import { testContext } from '../support/call-context';
import { faultyRepository } from '../support/faulty-repository';
import { manifestOf } from '../support/manifests';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';

const HOUR = 3_600_000;
const hoursAgo = (hours: number) => new Date(Date.now() - hours * HOUR).toISOString();

let folder: string;
let repository: Repository;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'drctl-metrics-'));
  repository = createRepository('local', { kind: 'local', directory: folder, prefix: '' }, shop.name);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const stores = [
  {
    name: 'assets',
    engine: 'files',
    hasLog: false,
    hasReplication: false,
    catchesUp: false,
    choosesAt: [],
    hasMirrors: false,
    rpoSeconds: 86_400,
  },
];
const quiet: RunsOfTemporal = {
  failedBackups: async () => [],
  roleChange: async () => ({ kind: null, phase: 'idle' }),
};

function figuresOf(runs = quiet, changes: Partial<WiredApplication> = {}): ApplicationFigures {
  const open = {
    application: { ...shop, stores },
    catalog: () => createCatalog(repository),
    proofs: () => createProofs(repository),
    logArchive: () => null,
    copies: () => [],
    engine: () => ({ kind: 'files' }),
    control: repository,
    epochs: { current: async () => null },
    repositories: [repository],
    ...changes,
  } as unknown as WiredApplication;
  return new ApplicationFigures(open, 'dr', runs, 60, testContext().log);
}

let committed = 0;
async function commit(hours: number, minutes: number, type: Manifest['type'] = 'full'): Promise<Manifest> {
  committed += 1;
  const startedAt = hoursAgo(hours);
  const committedAt = new Date(Date.parse(startedAt) + minutes * 60_000).toISOString();
  const id = `${startedAt.slice(0, 19).replaceAll(/[-:]/g, '')}Z-${type}-${String(committed).padStart(8, '0')}`;
  const artifact = {
    name: 'vol-00001.tar',
    key: `data/files/assets/${id}/attempt-1/vol-00001.tar.zst`,
    sizeBytes: 1_000,
    contentBytes: 4_000,
    sha256: 'a'.repeat(64),
    contentSha256: 'b'.repeat(64),
    codec: 'zstd' as const,
    encryptionKeyId: null,
  };
  const times = { startedAt, consistentAt: startedAt, committedAt };
  const manifest = manifestOf(id, [artifact], { ...times, type, store: 'assets' });
  return createCatalog(repository).commit(manifest);
}

async function exposed(figures: ApplicationFigures): Promise<Map<string, number>> {
  await figures.collect(new AbortController().signal);
  const text = await prometheusText(figures.families());
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(
    lines.map((line) => {
      const [, series = '', value] = /^(.*) (\S+)$/.exec(line) ?? [];
      return [series, Number(value)];
    }),
  );
}

const ASSETS = 'app="shop",store="assets",kind="files"';

test('backups are told by the names of the strategy, and a worker that begins anew tells the same', async () => {
  await commit(30, 10);
  const newest = await commit(6, 50);
  const first = await exposed(figuresOf());
  expect(first.get(`backup_success{${ASSETS}}`)).toBe(1);
  expect(first.get(`backup_success_total{${ASSETS},type="full"}`)).toBe(2);
  expect(first.get(`backup_failure_total{${ASSETS}}`)).toBe(0);
  expect(first.get(`backup_last_success_timestamp{${ASSETS}}`)).toBe(Date.parse(newest.committedAt) / 1_000);
  expect(first.get(`backup_size_bytes{${ASSETS},type="full"}`)).toBe(1_000);
  expect(first.get(`backup_duration_seconds_bucket{${ASSETS},type="full",le="900"}`)).toBe(1);
  expect(first.get(`backup_duration_seconds_bucket{${ASSETS},type="full",le="3600"}`)).toBe(2);
  expect(first.get(`backup_duration_seconds_bucket{${ASSETS},type="full",le="+Inf"}`)).toBe(2);
  expect(first.get(`backup_duration_seconds_sum{${ASSETS},type="full"}`)).toBe(3_600);
  expect(first.get(`drctl_rpo_seconds{${ASSETS}}`)).toBeCloseTo(6 * 3_600, -1);
  expect(first.get('drctl_failover_phase{app="shop",kind="none",phase="idle"}')).toBe(1);

  const second = await exposed(figuresOf());
  const counters = (all: Map<string, number>) => [...all].filter(([name]) => /_total|_duration_seconds_/.test(name));
  expect(counters(second)).toEqual(counters(first));
});

test('what retention takes away is still counted: a counter never goes down', async () => {
  const old = await commit(100, 10);
  await commit(6, 10);
  await exposed(figuresOf());
  await repository.delete([layout.manifest('assets', old.backupId)]);
  const after = await exposed(figuresOf());
  expect(after.get(`backup_success_total{${ASSETS},type="full"}`)).toBe(2);
  expect(after.get(`drctl_backups{${ASSETS},type="full"}`)).toBe(1);
  await commit(2, 10);
  expect((await exposed(figuresOf())).get(`backup_success_total{${ASSETS},type="full"}`)).toBe(3);
});

test('a backup that failed since the newest one is told until the next one, also after Temporal forgot the run', async () => {
  await commit(30, 10);
  const failed = { store: 'assets', runId: 'r1', endedAt: hoursAgo(0.5) };
  const asked: (string | null)[] = [];
  const failing: RunsOfTemporal = {
    ...quiet,
    failedBackups: async (_, since) => {
      asked.push(since);
      return [failed];
    },
  };
  const first = await exposed(figuresOf(failing));
  expect(first.get(`backup_success{${ASSETS}}`)).toBe(0);
  expect(first.get(`backup_failure_total{${ASSETS}}`)).toBe(1);
  // The same run shown again is not counted again; and where it is not shown any more, it is known all the same.
  expect((await exposed(figuresOf(failing))).get(`backup_failure_total{${ASSETS}}`)).toBe(1);
  expect((await exposed(figuresOf())).get(`backup_success{${ASSETS}}`)).toBe(0);
  expect(asked[0]).toBeNull();
  expect(Date.now() - Date.parse(asked[1] ?? '')).toBeCloseTo(HOUR, -5);
  await commit(0.1, 1);
  expect((await exposed(figuresOf())).get(`backup_success{${ASSETS}}`)).toBe(1);
});

test('a store without a backup has no age, no size and no risk, and never a zero in their place', async () => {
  const found = await exposed(figuresOf());
  expect([...found.keys()].filter((name) => /last_success|size_bytes|rpo_seconds|proof|lag/.test(name))).toEqual([]);
  expect(found.has(`backup_success{${ASSETS}}`)).toBe(false);
  expect(found.get(`drctl_backups{${ASSETS},type="full"}`)).toBe(0);
  expect(found.get(`drctl_healthy{${ASSETS}}`)).toBe(0);
});

test('a part that cannot be read is absent and named, and hides no other', async () => {
  await commit(6, 10);
  const figures = figuresOf(
    {
      ...quiet,
      roleChange: async () => {
        throw failure('TemporalUnavailable', 'nobody answers');
      },
    },
    {
      epochs: {
        current: async () => {
          throw failure('RepositoryUnavailable', 'the control repository does not answer');
        },
      } as unknown as WiredApplication['epochs'],
    },
  );
  const found = await exposed(figures);
  expect([...found.keys()].filter((name) => name.startsWith('drctl_metrics_problem')).toSorted()).toEqual([
    'drctl_metrics_problem{app="shop",part="epochs"}',
    'drctl_metrics_problem{app="shop",part="temporal"}',
  ]);
  expect([...found.keys()].filter((name) => /failover_phase|active_site/.test(name))).toEqual([]);
  expect(found.get(`drctl_backups{${ASSETS},type="full"}`)).toBe(1);
});

test.each([
  '',
  'null',
  '{"formatVersion":1,"sto',
  '{"formatVersion":1,"stores":{"assets":{"failed":"x"}},"failedRuns":[]}',
])('a damaged count of backups (%j) is named once, counted anew and kept', async (damaged) => {
  await commit(6, 10);
  await commit(2, 10);
  await exposed(figuresOf());
  await repository.put(layout.tally(), Buffer.from(damaged));
  const found = await exposed(figuresOf());
  expect(found.get('drctl_metrics_problem{app="shop",part="tally"}')).toBe(1);
  expect(found.get(`backup_success_total{${ASSETS},type="full"}`)).toBe(2);
  const next = await exposed(figuresOf());
  expect([...next.keys()].filter((name) => name.startsWith('drctl_metrics_problem'))).toEqual([]);
  expect(next.get(`backup_success_total{${ASSETS},type="full"}`)).toBe(2);
});

test('damaged samples and a damaged look at a site are named, and hide nothing else', async () => {
  await commit(6, 10);
  await repository.put(layout.samples(), Buffer.from('{"orders":[{"takenAt"'));
  await repository.put(layout.readiness('dr'), Buffer.from('{"result":{}}'));
  const found = await exposed(figuresOf());
  expect([...found.keys()].filter((name) => name.startsWith('drctl_metrics_problem')).toSorted()).toEqual([
    'drctl_metrics_problem{app="shop",part="readiness"}',
    'drctl_metrics_problem{app="shop",part="replication"}',
  ]);
  expect(found.get(`backup_success{${ASSETS}}`)).toBe(1);
});

test('figures that nobody collects any more are not told, but that they are old is', async () => {
  await commit(6, 10);
  const figures = figuresOf();
  await figures.collect(new AbortController().signal);
  const now = Date.now();
  const clock = jest.spyOn(Date, 'now').mockReturnValue(now + 6 * 60_000);
  try {
    expect(figures.families().map(({ name }) => name)).toEqual([
      'drctl_metrics_collected_timestamp_seconds',
      'drctl_metrics_stale_after_seconds',
      'drctl_metrics_collection_duration_seconds',
      'drctl_metrics_problem',
    ]);
  } finally {
    clock.mockRestore();
  }
});

test('the endpoint answers Prometheus, says how the site is, and waits for an address that is taken', async () => {
  await commit(6, 10);
  const figures = figuresOf();
  const ending = new AbortController();
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  taken.close();
  const served = serveMetrics({ host: '127.0.0.1', port }, [figures], 'dr', ending.signal, testContext().log);
  const get = async (path: string) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`);
    return { status: response.status, type: response.headers.get('content-type'), text: await response.text() };
  };
  try {
    await waitUntil('the endpoint', () =>
      get('/healthz').then(
        () => true,
        () => false,
      ),
    );
    // Before anything was collected nobody knows how the site is.
    expect((await get('/site-health')).status).toBe(503);
    await figures.collect(ending.signal);
    expect(await get('/metrics')).toMatchObject({
      status: 200,
      type: 'text/plain; version=0.0.4; charset=utf-8',
      text: expect.stringMatching(/^# HELP backup_success 1 when .*\n# TYPE backup_success gauge\nbackup_success\{/m),
    });
    expect(await get('/site-health')).toMatchObject({
      status: 200,
      text: expect.stringContaining('drctl_site_healthy{site="dr"} 1'),
    });
    expect((await get('/nothing')).status).toBe(404);
  } finally {
    ending.abort();
    await served;
  }
});

test('a look at a store with many backups reads the newest and what they build on, and no other', async () => {
  const ids: string[] = [];
  for (let day = 1; day <= 9; day += 1) {
    const id = `2026110${day}T020000Z-${day === 1 || day === 4 ? 'full' : 'incr'}-0000000${day}`;
    const parent = day === 1 || day === 4 ? null : ids[day === 8 ? 0 : day - 2]!;
    await createCatalog(repository).commit(
      manifestOf(id, [], { store: 'assets', type: parent ? 'incr' : 'full', parent }),
    );
    ids.push(id);
  }
  const read: string[] = [];
  const counted = faultyRepository(repository, {
    before: (operation, key) => void (operation === 'read' && read.push(key)),
  });
  const survey = await createCatalog(counted).survey('assets', 2);
  expect(survey.ids).toEqual(ids);
  // The ninth builds on the eighth, which builds on the first.
  const wanted = [ids[0], ids[7], ids[8]];
  expect(survey.backups.map(({ backupId }) => backupId)).toEqual(wanted);
  expect(read.toSorted()).toEqual(wanted.map((id) => layout.manifest('assets', id!)));
  // As are the newest alone, and what builds on them and is older than all that was listed.
  expect((await createCatalog(repository).newest('assets', 2)).backups.map(({ backupId }) => backupId)).toEqual(wanted);
  expect(await createCatalog(repository).oldest('assets')).toBe(ids[0]);
  const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
  const [base, child] = [backupIdOf(daysAgo(6), 'full', '000000ff'), backupIdOf(daysAgo(1), 'incr', '000000ff')];
  for (const [id, parent] of [
    [base, null],
    [child, base],
  ] as const)
    await createCatalog(repository).commit(
      manifestOf(id, [], { store: 'uploads', type: parent ? 'incr' : 'full', parent }),
    );
  const chain = await createCatalog(repository).newest('uploads', 1);
  expect(chain.backups.map(({ backupId }) => backupId)).toEqual([base, child]);
  const after = await createCatalog(counted).list('assets', { after: ids[6]! });
  expect(after.map(({ backupId }) => backupId)).toEqual(ids.slice(7));
});

const nothingKnown: ApplicationFacts = {
  application: 'shop',
  site: 'dr',
  at: hoursAgo(0),
  tookSeconds: 1,
  stores: [],
  tally: EMPTY_TALLY,
  active: null,
  replication: null,
  roleChange: null,
  readiness: null,
  recoveries: null,
  servers: null,
  storage: null,
  problems: [],
};

test('a store whose replication was never measured is told of, where there is a site that could take over', () => {
  const expected = (sites: readonly string[], hasReplication: boolean) => {
    const [store] = stores;
    const families = applicationMetrics({ ...shop, sites, stores: [{ ...store!, hasReplication }] }, nothingKnown);
    return families.find(({ name }) => name === 'drctl_replication_expected')?.samples;
  };
  const labels = { app: 'shop', store: 'assets', kind: 'files' };
  expect(expected(['primary', 'dr'], true)).toEqual([{ labels, value: 1 }]);
  expect(expected(['primary', 'dr'], false)).toEqual([]);
  expect(expected(['primary'], true)).toEqual([]);
});

test('every name has a help, a type and base units, and none is told twice', () => {
  const families = applicationMetrics({ ...shop, stores }, nothingKnown);
  const names = families.map(({ name }) => name);
  const documented = [...readFileSync('docs/monitoring.md', 'utf8').matchAll(/^\| `([a-z_]+)` /gm)].map(
    ([, name = '']) => name,
  );
  expect(documented.filter((name) => !name.startsWith('drctl_metrics_')).toSorted()).toEqual(names.toSorted());
  expect(new Set(names).size).toBe(names.length);
  for (const { name, help } of families) {
    expect(name).toMatch(/^(drctl|backup|recovery)_[a-z_]+$/);
    expect(name).not.toMatch(/_(ms|milliseconds|minutes|hours|mib|percent)/);
    expect(help).toMatch(/^.{10,160}\.$/);
  }
});

test('counting in any order, and again, comes to the same', () => {
  const manifests = [3, 1, 2].map((day) =>
    manifestOf(`2026112${day}T020000Z-full-0000000${day}`, [], {
      startedAt: `2026-11-2${day}T02:00:00.000Z`,
      committedAt: `2026-11-2${day}T02:10:00.000Z`,
    }),
  );
  const atOnce = countBackups(EMPTY_TALLY, 'orders', manifests);
  const stepwise = manifests
    .toReversed()
    .toSorted((a, b) => (a.backupId < b.backupId ? -1 : 1))
    .reduce(
      (tally, manifest) =>
        countBackups(tally, 'orders', [manifest, ...manifests.filter(({ backupId }) => backupId < manifest.backupId)]),
      EMPTY_TALLY,
    );
  expect(stepwise).toEqual(atOnce);
  expect(countBackups(atOnce, 'orders', manifests)).toBe(atOnce);
  expect(atOnce.stores['orders']).toMatchObject({
    countedThrough: '20261123T020000Z-full-00000003',
    succeeded: { full: { count: 3, sumSeconds: 1_800 } },
  });
  const late = '2026-11-23T10:00:00.000Z';
  const failed = countFailures(atOnce, [{ store: 'orders', runId: 'r', endedAt: '2026-11-23T09:00:00.000Z' }], late);
  expect(countFailures(failed, failed.failedRuns, '2026-11-23T10:05:00.000Z')).toBe(failed);
});
