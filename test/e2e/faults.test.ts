import * as fs from 'node:fs';
import * as path from 'node:path';
import { parse, stringify } from 'yaml';
import { DRILL_STAGES } from '../../core/drill';
import type { DrillResult } from '../../core/drill-runs';
import { FAILURES, type FailureCode } from '../../core/failure-classes';
import type { Repository } from '../../core/repository';
import { workflowIds } from '../../core/names';
import type { FailOverResult } from '../../core/role-change-runs';
import type { LaunchBackupsResult } from '../../core/runs';
import { projectRoot } from '../../lab/runtime/servers';
import { type CommandResult, E2eLab, keysOf, waitUntil } from '../support/e2e-lab';
import { countOf } from '../support/random';

jest.setTimeout(300_000);

/** What drctl keeps of backups and role changes. Not its reports: a run that began leaves one however it ended. */
const KEPT = ['catalog', 'data/full', 'data/files', 'data/config', 'epochs'];

let e2e: E2eLab;
let goodBackup: string;
const configs: Record<Variant, string> = { 'wrong-credentials': '', 'wrong-bucket': '', 'no-standby': '', drilled: '' };
type Fault = 'wrong-credentials' | 'wrong-bucket';
type Variant = Fault | 'no-standby' | 'drilled';

/** As the config file has it. */
interface RawConfig {
  application: string;
  repositories: Record<string, { bucket: string; credentials: Record<string, { file: string }> }>;
  spool: { directory: string };
  stores: Record<string, { sites: Record<string, { port?: number }> }>;
  services: { groups: object[] };
  schedules: { runs: object };
  monitoring: { stores: object };
  endpoints: object[];
  drill: object;
}

beforeAll(async () => {
  e2e = await E2eLab.up();
  variant('wrong-credentials', (config) => {
    const file = path.join(e2e.lab.folder, 'secrets/wrong-key');
    fs.writeFileSync(file, 'WRONGSECRETWRONGSECRET', { mode: 0o600 });
    for (const each of Object.values(config.repositories)) each.credentials['secretAccessKey'] = { file };
  });
  variant('wrong-bucket', (config) => {
    for (const each of Object.values(config.repositories)) each.bucket = 'no-such-bucket';
  });
  variant('no-standby', (config) => {
    // Nothing listens there: the primary looks dead, and the standby was never built.
    for (const site of Object.values(config.stores['orders-db']?.sites ?? {})) site.port = 5999;
  });
  variant('drilled', (config) => {
    // What one service needs: a drill of all of it takes a minute.
    const { sessions } = config.stores;
    if (!sessions) throw new Error('the lab has no sessions');
    config.stores = { sessions };
    config.schedules.runs = {};
    config.monitoring.stores = {};
    config.services.groups = [{ name: 'shop', services: [{ name: 'cart', replicas: 1 }] }];
    config.endpoints = [{ url: `http://${e2e.lab.dns.name}:${e2e.lab.dns.gatewayPort}/v2/cart/drill` }];
    const targets = [
      { name: 'database', store: 'sessions' },
      { name: 'service', service: 'cart' },
    ];
    config.drill = { ...config.drill, targets };
  });
  await workersServeAll();
  const { backups } = await e2e.ask<LaunchBackupsResult>('backup', 'application');
  goodBackup = backups.find(({ store }) => store === 'application')?.backupId ?? '';
  await copied();
}, 300_000);

afterAll(() => e2e?.destroy());

test('a config with a mistake is refused by field', async () => {
  const file = path.join(e2e.lab.folder, 'mistake.yaml');
  fs.writeFileSync(file, fs.readFileSync(e2e.configFile, 'utf8').replace('engine: redis', 'engine: rediss'));
  const before = await e2e.contents(KEPT);
  for (const args of [
    ['config', 'check'],
    ['backup', '--all'],
    ['failover', 'status'],
  ]) {
    const result = await e2e.drctl(args, file);
    refused(result, 'ConfigInvalid', /mistake\.yaml[^]*stores\.sessions\.engine[^]*rediss/);
  }
  expect(await e2e.contents(KEPT)).toEqual(before);
});

test.each([
  ['backup', ['backup', 'no-such-store']],
  ['restore', ['restore', 'no-such-store', '--to', 'latest', '--into', '/tmp/never', '--yes']],
  ['list', ['backups', 'list', 'no-such-store']],
])('an unknown store is refused with the names that exist: %s', async (_, args) => {
  const before = await e2e.contents(KEPT);
  refused(await e2e.drctl(args), 'NotFound', /no-such-store.*orders-db, catalog, sessions, application, configuration/);
  expect(await e2e.contents(KEPT)).toEqual(before);
  expect(fs.existsSync('/tmp/never')).toBe(false);
});

test('a target outside the window is refused with the range that exists, planned or started', async () => {
  const into = path.join(e2e.lab.folder, 'restore', 'outside');
  const args = ['restore', 'application', '--to', '2020-01-01T00:00:00Z', '--into', into];
  const before = await e2e.contents(KEPT);
  for (const how of ['--dry-run', '--yes'])
    refused(await e2e.drctl([...args, how]), 'PitrTargetUnreachable', /application.*2020-01-01[^]*20\d\d-/);
  expect(fs.existsSync(into)).toBe(false);
  expect(await e2e.contents(KEPT)).toEqual(before);
});

test.each<[Fault, FailureCode, RegExp]>([
  ['wrong-credentials', 'AccessDenied', /s3:\/\/ultramarket-/],
  ['wrong-bucket', 'ConfigInvalid', /no-such-bucket/],
])('%s: one clear error for reading and for a backup, and no secret in it', async (fault, code, message) => {
  const before = await e2e.contents(KEPT);
  const list = await e2e.drctl(['backups', 'list'], configs[fault]);
  refused(list, code, message);
  const backup = await e2e.drctl(['backup', 'application'], configs[fault]);
  expect(backup.exitCode).toBe(FAILURES[code].exitCode);
  expect(backup.out).toMatch(/^application: FAILED, .*\n {2}data: .*\n {2}next: /m);
  expect(backup.out).toMatch(message);
  for (const { out, err } of [list, backup]) expect(out + err).not.toContain('WRONGSECRET');
  expect(await e2e.contents(KEPT)).toEqual(before);
});

test('without S3 reading is refused, and a backup says what it waits for, changes nothing and completes once S3 is back', async () => {
  const before = await e2e.contents(KEPT);
  await e2e.supervisor.kill('s3');
  refused(await e2e.drctl(['backups', 'list']), 'RepositoryUnavailable', /s3:\/\/ultramarket-backups/);
  const said: string[] = [];
  const waiting = e2e.drctl(['backup', 'application', '--output', 'json'], e2e.configFile, (text) => said.push(text));
  await waitUntil(
    'the backup saying what it waits for',
    () => Promise.resolve(/tried again and again: .*s3:\/\/ultramarket-/.test(said.join(''))),
    { deadlineMs: 90_000 },
  );
  await e2e.supervisor.start('s3');
  const { exitCode, out } = await waiting;
  expect(exitCode).toBe(0);
  const { backups } = JSON.parse(out) as LaunchBackupsResult;
  const added = Object.keys(await e2e.contents(KEPT)).filter((key) => !(key in before));
  expect(added.length).toBeGreaterThan(0);
  expect(added.filter((key) => !key.includes(backups[0]?.backupId ?? ''))).toEqual([]);
  await copied();
});

test('a failover to a site that does not exist is refused before anything starts', async () => {
  const before = await e2e.contents(KEPT);
  const result = await e2e.drctl(['failover', 'start', '--to', 'mars', '--reason', 'a test']);
  refused(result, 'NotFound', /mars.*primary, dr/);
  refused(await e2e.drctl(['failover', 'approve', '--by', 'oncall-lead']), 'NotFound', /role-change:ultramarket/);
  expect(await e2e.contents(KEPT)).toEqual(before);
});

test('a failover to a standby that does not exist ends with its address, before any approval or epoch', async () => {
  const before = await e2e.contents(KEPT);
  const args = ['failover', 'start', '--to', 'dr', '--reason', 'a test', '--yes', '--by', 'oncall-lead'];
  refused(await e2e.drctl(args, configs['no-standby']), 'TargetUnreachable', /orders-db[^]*5999/);
  expect(await e2e.contents(KEPT)).toEqual(before);
  expect(await e2e.supervisor.fenceOf('primary')).toBeNull();
  const services = await e2e.supervisor.services('dr');
  expect(services.filter(({ desiredReplicas }) => desiredReplicas > 0)).toEqual([]);
});

// Three minutes more.
if (countOf('KILLS', 1) > 1) {
  test('a drill starts the services against copies, in isolation, kills what it may, and leaves nothing; production goes on as it was', async () => {
    const config = configs.drilled;
    expect((await e2e.drctl(['schedules', 'apply'], config)).exitCode).toBe(0);
    expect((await e2e.drctl(['backup', 'sessions'], config)).exitCode).toBe(0);
    const pids = async () =>
      (await e2e.supervisor.processes()).filter(({ kind }) => kind !== 'worker').map(({ name, pid }) => [name, pid]);
    const before = await pids();
    const ran = await e2e.drctl(['drill', 'run', '--yes', '--reason', 'a test', '--output', 'json'], config);
    const result = JSON.parse(ran.out) as DrillResult;
    process.stderr.write(
      `drill: ${result.stages.map(({ stage, seconds }) => `${stage} ${seconds.toFixed(1)} s`).join(', ')}\n`,
    );
    expect(result.stages.map(({ stage, state, note }) => [stage, state, note])).toEqual(
      DRILL_STAGES.map((stage) => [stage, 'held', expect.any(String)]),
    );
    expect(result).toMatchObject({ outcome: 'completed', verdict: 'achieved', remains: [], warnings: [] });
    expect(ran.exitCode).toBe(0);
    const addresses = result.isolation?.production.map(({ target, connected }) => [target, connected]);
    expect(addresses).toContainEqual([e2e.lab.sites.primary.redis, false]);
    expect(addresses).toContainEqual([e2e.lab.sites.dr.redis, false]);
    expect(result.recoveries.map(({ name, seconds }) => [name, (seconds ?? 0) > 0])).toEqual([
      ['database', true],
      ['service', true],
    ]);
    expect(await pids()).toEqual(before);
    expect(fs.readdirSync(path.join(e2e.lab.folder, 'restore')).filter((name) => name.startsWith('drill-'))).toEqual(
      [],
    );
    const shown = await e2e.drctl(['drill', 'show'], config);
    expect(shown.out).toMatch(/Isolation[^]*production \| ECONNREFUSED[^]*Recovery times/);
  });

  test('a drill of the whole shop goes on when its worker is killed, and ends when a failover begins', async () => {
    const handle = e2e.handle(workflowIds.drill('ultramarket'));
    // With the archivers, without which no backup of a store with a log is ever complete.
    await e2e.ask('schedules', 'apply');
    await e2e.ask('schedules', 'pause', 'full', 'incremental', 'configuration');
    await e2e.ask('backup', '--all');
    await e2e.ask('drill', 'run', '--yes', '--detach');
    await e2e.waitForActivity(handle.workflowId, 'pointDrillName');
    await e2e.killWorker('dr');
    const whole = (await handle.result()) as DrillResult;
    expect(whole).toMatchObject({ verdict: 'achieved', remains: [], warnings: [] });
    await e2e.ask('drill', 'run', '--yes', '--detach', '--without', 'integrity');
    await e2e.waitForActivity(handle.workflowId, 'openBubble');
    const failover = ['failover', 'start', '--to', 'dr', '--reason', 'a test', '--yes', '--by', 'oncall-lead'];
    expect(await e2e.ask<FailOverResult>(...failover)).toMatchObject({ outcome: 'not necessary' });
    const aborted = (await e2e.handle(handle.workflowId).result()) as DrillResult;
    expect(aborted).toMatchObject({ outcome: 'aborted', verdict: 'unchanged', remains: [] });
  });
}

describe('an artifact that is not what was stored is read from the copy, and refused by name where that is damaged as well', () => {
  const damages: [string, (bytes: Buffer) => Buffer][] = [
    ['truncated', (bytes) => bytes.subarray(0, bytes.length - 7)],
    [
      'altered',
      (bytes) => Buffer.concat([bytes.subarray(0, -9), Buffer.from([bytes.at(-9)! ^ 1]), bytes.subarray(-8)]),
    ],
  ];

  test.each(damages)('%s', async (name, damage) => {
    const prefix = `data/files/application/${goodBackup}/`;
    const key = (await keysOf(e2e.cloud, prefix)).find((each) => each.includes('vol-')) ?? '';
    const whole = await e2e.cloud.read(key);
    const into = path.join(e2e.lab.folder, 'restore', name);
    const args = ['restore', 'application', '--to', goodBackup, '--yes', '--into'];
    await replace(e2e.cloud, key, damage(whole));
    const fromTheCopy = await e2e.drctl([...args, `${into}-copy`]);
    expect(fromTheCopy).toMatchObject({ exitCode: 0 });
    expect(fromTheCopy.err + fromTheCopy.out).toMatch(new RegExp(`${key} in s3://ultramarket-backups/.*offsite`));

    await replace(e2e.offsite, key, damage(whole));
    const before = await e2e.contents(KEPT);
    refused(await e2e.drctl([...args, into]), 'BackupCorrupt', new RegExp(key));
    expect(await e2e.contents(KEPT)).toEqual(before);

    for (const repository of [e2e.cloud, e2e.offsite]) await replace(repository, key, whole);
    expect(await e2e.drctl([...args, `${into}-whole`])).toMatchObject({ exitCode: 0 });
  });
});

/** Rule 10: what failed, where, what it means for the data, what to do next; once, and nothing of our insides. */
function refused({ exitCode, out, err }: CommandResult, code: FailureCode, message: RegExp): void {
  const said = err.slice(Math.max(0, err.indexOf('Failed: ')));
  expect({ exitCode, out, said }).toEqual({
    exitCode: FAILURES[code].exitCode,
    out: '',
    said: expect.stringMatching(
      new RegExp(`^Failed: .+[^]*\\nWhere: .*\\(${code}\\)\\nData: .+\\nNext: .+\\n$`),
    ) as string,
  });
  expect(said).toMatch(message);
  expect(err.match(/^Failed: /gm)).toHaveLength(1);
  expect(err).not.toMatch(/^\s+at .*:\d+:\d+/m);
}

/** Backups begin their copies and do not wait for them; one that goes on would change what a test counts. */
async function copied(): Promise<void> {
  await e2e.handle(workflowIds.copy('ultramarket', 'offsite', 'application')).result();
}

async function replace(repository: Repository, key: string, bytes: Buffer): Promise<void> {
  const head = await repository.head(key);
  await repository.put(key, bytes, { metadata: head?.metadata ?? {} });
}

/** The lab's application under another name, with something else than the lab's. */
function variant(name: Variant, change: (config: RawConfig) => void): void {
  const config = parse(fs.readFileSync(e2e.configFile, 'utf8')) as RawConfig;
  config.application = name;
  config.spool.directory = path.join(e2e.lab.folder, `spool-${name}`);
  change(config);
  configs[name] = path.join(e2e.lab.folder, `${name}.yaml`);
  fs.writeFileSync(configs[name], stringify(config));
}

async function workersServeAll(): Promise<void> {
  const program = path.join(projectRoot(), 'dist/workers/main.js');
  const files = [e2e.configFile, ...Object.values(configs)].flatMap((file) => ['--config', file]);
  for (const site of ['primary', 'dr'] as const) {
    await e2e.supervisor.register({
      name: `worker-${site}`,
      site,
      kind: 'worker',
      argv: [process.execPath, program, ...files, '--site', site],
      env: {},
      cwd: e2e.lab.folder,
      restart: true,
    });
    await e2e.workerReady(site);
  }
}
