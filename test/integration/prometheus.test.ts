import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createEpochs } from '../../adapters/catalog/epochs';
import { createProofs } from '../../adapters/catalog/proofs';
import { createRepository } from '../../adapters/repository';
import { layout } from '../../core/layout';
import { alertRules } from '../../core/monitoring/alert-rules';
import { scrapeConfig } from '../../core/monitoring/scrape-config';
import { dashboard } from '../../core/monitoring/dashboard';
import { prometheusPrograms } from '../../lab/runtime/prometheus';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { ApplicationFigures } from '../../workers/metrics/application-figures';
import { serveMetrics } from '../../workers/metrics/endpoint';
import type { WiredApplication } from '../../workers/wiring';
import { testContext } from '../support/call-context';
import { manifestOf } from '../support/manifests';
import { TestPrometheus } from '../support/prometheus';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';

/** A real Prometheus that scrapes the worker's own endpoint over a real repository; only servers and Temporal are pretended. */
const programs = prometheusPrograms();
const withPrometheus = programs || process.env['CI'] ? describe : describe.skip;

const PORT = 9464;
const stores = [
  {
    name: 'orders',
    engine: 'postgresql',
    hasLog: true,
    hasReplication: true,
    catchesUp: false,
    choosesAt: [],
    hasMirrors: false,
    rpoSeconds: 900,
  },
];
const application = { ...shop, stores };
const now = Date.now();
const ago = (seconds: number) => new Date(now - seconds * 1_000).toISOString();

withPrometheus('Prometheus', () => {
  let folder: string;
  let prometheus: TestPrometheus;
  const ending = new AbortController();
  let served: Promise<void>;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'drctl-prometheus-'));
    const host = await freeLoopbackHost(PORT);
    const figures = new ApplicationFigures(await openShop(folder), 'dr', temporal, 5, testContext().log);
    void figures.run(ending.signal);
    served = serveMetrics({ host, port: PORT }, [figures], 'dr', ending.signal, testContext().log);
    const scrape = scrapeConfig([{ site: 'dr', address: `${host}:${PORT}` }], ['dr']) as { scrape_configs: object[] };
    prometheus = await TestPrometheus.start(programs!, alertRules(application), scrape.scrape_configs);
    // Increases want two scrapes of a figure.
    await waitUntil(
      'two scrapes',
      async () => Number((await prometheus.query('count_over_time(backup_success[1m])'))[0]?.value[1]) >= 2,
    );
  }, 120_000);

  afterAll(async () => {
    ending.abort();
    await served;
    await prometheus?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  test('every query of the dashboard is answered with figures', async () => {
    const { panels } = dashboard(application) as { panels: { title: string; targets: { expr: string }[] }[] };
    const empty: string[] = [];
    for (const { title, targets } of panels) {
      for (const { expr } of targets) if ((await prometheus.query(expr)).length === 0) empty.push(`${title}: ${expr}`);
    }
    expect(panels.length).toBeGreaterThan(12);
    expect(empty).toEqual([]);
  });

  test('both jobs are up, and no label of a figure is renamed by one of its target', async () => {
    expect((await prometheus.query('up == 1')).map(({ metric }) => metric['job'] ?? '').toSorted()).toEqual([
      'dr-site-health',
      'drctl',
    ]);
    expect(await prometheus.query('{__name__=~"drctl_.*",exported_site!=""}')).toEqual([]);
    expect((await prometheus.query('drctl_server_up')).map(({ metric }) => metric['site'])).toEqual(['dr']);
  });

  test('the rules are taken, and of a healthy application none is about to fire', async () => {
    const rules = await prometheus.rules();
    expect(rules.length).toBeGreaterThan(15);
    expect(rules.filter(({ lastError }) => lastError)).toEqual([]);
    expect(rules.filter(({ state }) => state !== 'inactive').map(({ name }) => name)).toEqual([]);
  });
});

const temporal = {
  failedBackups: async () => [],
  roleChange: async () => ({ kind: null, phase: 'idle' }),
};

/** One store with a backup, a proof, a report, a look at its readiness and samples of its replication. */
async function openShop(folder: string): Promise<WiredApplication> {
  const repository = createRepository('local', { kind: 'local', directory: folder, prefix: '' }, shop.name);
  const id = `${ago(60).slice(0, 19).replaceAll(/[-:]/g, '')}Z-full-00000001`;
  const times = { startedAt: ago(60), consistentAt: ago(50), committedAt: ago(40) };
  await createCatalog(repository).commit(manifestOf(id, [], { ...times, store: 'orders', engine: 'postgresql' }));
  const put = (key: string, value: object) => repository.put(key, Buffer.from(JSON.stringify(value)));
  await repository.put('data/full/orders/x/vol-00001.tar.zst', Buffer.from('x'));
  const proofId = `${ago(30).slice(0, 19).replaceAll(/[-:]/g, '')}Z-full-proven-00000001`;
  await put(layout.proof('orders', proofId), {});
  await put(layout.report('failover-1', 'json'), {
    ...{
      formatVersion: 1,
      kind: 'failover',
      verdict: 'achieved',
      startedAt: ago(500),
      endedAt: ago(400),
      decisions: [],
    },
    recovery: {
      objectiveSeconds: 14_400,
      outageFrom: ago(600),
      outageBasis: '',
      approvedAt: ago(450),
      verifiedAt: ago(430),
    },
  });
  await put(layout.readiness('dr'), {
    result: { at: ago(10), verdict: 'ready', score: 100 },
    told: { ids: [], at: null },
  });
  const state = (site: string) => ({
    ...{ site, at: ago(2), answeredAt: ago(2), serverAt: ago(2), bytes: 100, operations: 1, appliedUntil: ago(2) },
    position: { engine: 'postgresql', lineage: '1/1', value: '0/1' },
  });
  const sample = { store: 'orders', takenAt: ago(2), primary: state('primary'), standby: state('dr'), problem: null };
  await put(layout.samples(), { orders: [sample, sample] });
  const copied = { completeUntil: ago(30), notCopied: [] };
  const keptLog = { holder: 'drctl_orders', state: 'reading', keptBytes: 0, headroomBytes: null } as const;
  const engine = {
    kind: 'postgresql',
    positions: { compare: () => 0 },
    windows: async () => [{ from: ago(50), to: new Date().toISOString(), lineage: '1/1', exact: true }],
    probe: async (site: string) => ({ site, reachable: true, role: 'primary', writable: true, keptLog, problems: [] }),
  };
  return {
    application,
    catalog: () => createCatalog(repository),
    proofs: () => createProofs(repository),
    logArchive: () => ({}),
    copies: () => [{ name: 'offsite', maxLagSeconds: 3_600, copier: { record: async () => copied } }],
    engine: () => engine,
    control: repository,
    epochs: createEpochs(repository),
    repositories: [repository],
  } as unknown as WiredApplication;
}
