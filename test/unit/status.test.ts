import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createRepository } from '../../adapters/repository';
import { layout } from '../../core/layout';
import type { HealthReason } from '../../core/monitoring/store-view';
import { EMPTY_TALLY } from '../../core/monitoring/tally';
import { main } from '../../starters/main';
import { type StatusFacts, verdictOf } from '../../starters/status';
import { manifestOf } from '../support/manifests';
import { recordingIo } from '../support/recording-io';
import { waitUntil } from '../support/servers';

let folder: string;
let config: string;

/** Two trees of files in a local repository, and a Temporal that nobody started. */
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'drctl-status-'));
  config = join(folder, 'shop.yaml');
  const example = parse(readFileSync('config/examples/ultramarket.yaml', 'utf8')) as Record<string, unknown>;
  const tree = { engine: 'files', rpo: '1h', sites: { primary: { roots: ['/srv'] }, dr: { roots: ['/srv'] } } };
  // They name stores and repositories that are not here.
  const elsewhere = ['services', 'fence', 'checklists', 'costs', 'drill', 'copies'];
  const kept = Object.fromEntries(Object.entries(example).filter(([key]) => !elsewhere.includes(key)));
  const changed = {
    ...kept,
    application: 'shop',
    temporal: { address: '127.0.0.1:1' },
    repositories: { local: { kind: 'local', directory: join(folder, 'repository') } },
    repository: 'local',
    controlRepository: 'local',
    stores: { assets: tree, uploads: tree },
    monitoring: { backupMaxAge: '25h' },
    schedules: { runs: {} },
  };
  writeFileSync(config, stringify(changed));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function backedUp(store: string, minutesAgo: number): Promise<void> {
  const at = new Date(Date.now() - minutesAgo * 60_000).toISOString();
  const repository = createRepository(
    'local',
    { kind: 'local', directory: join(folder, 'repository'), prefix: '' },
    'shop',
  );
  const id = `${at.slice(0, 19).replaceAll(/[-:]/g, '')}Z-full-0000000a`;
  const times = { startedAt: at, consistentAt: at, committedAt: at };
  await createCatalog(repository).commit(manifestOf(id, [], { store, application: 'shop', ...times }));
}

async function look(...more: string[]) {
  const io = recordingIo();
  return { exitCode: await main(['status', '--config', config, ...more], io), text: io.text() };
}

test('the first line says whether we are safe and the next ones why; the exit code says it to a script', async () => {
  await backedUp('assets', 10);
  const one = await look();
  expect(one.text).toMatch(
    /^NOT SAFE: shop, active at primary\n {2}✘ uploads: there is no backup\n {2}! what runs is not known: Temporal/,
  );
  expect(one.text).toMatch(/^assets +files +ok +10m ago +10m \d+s +1h 0m +never$/m);
  expect(one.text).toMatch(/^encryption is off: new backups and log are stored plain$/m);
  expect(one.exitCode).toBe(46);

  await backedUp('uploads', 90);
  expect((await look()).text).toContain(
    '✘ uploads: 1h 30m of changes are in no backup, more than its objective of 1h 0m',
  );

  await backedUp('uploads', 5);
  const safe = await look('--output', 'json');
  expect(safe.exitCode).toBe(0);
  expect(JSON.parse(safe.text)).toMatchObject({
    application: 'shop',
    // Nobody runs the backups: nothing is lost yet.
    safety: 'LOOK AT IT',
    unsafe: [],
    stores: [
      { store: 'assets', status: 'healthy' },
      { store: 'uploads', status: 'healthy' },
    ],
    running: { problem: expect.stringContaining('Temporal') },
  });
}, 60_000);

test('what a health check of the last hour found in manifests that a look does not read is told, with its time', async () => {
  const text = 'backup 20261101T020000Z-full-0000000b cannot be restored: it is not JSON';
  const checkedAt = async (at: string) => {
    const reasons = [{ alert: 'backupDamaged', status: 'warning', text, severity: 'warning', forSeconds: 0 }];
    const of = { status: 'warning', lastBackupAt: at, lastBackupAgeHours: 1, rpoSeconds: 0, problems: [] };
    const kept = { result: { application: 'shop', at, stores: [{ store: 'assets', reasons, ...of }] }, told: {} };
    const directory = join(folder, 'repository');
    const control = createRepository('local', { kind: 'local', directory, prefix: '' }, 'shop');
    await control.put(layout.health(), Buffer.from(JSON.stringify(kept)));
    await backedUp('assets', 9);
    const { text: screen } = await look();
    await control.delete([layout.health()]);
    return screen;
  };
  const now = new Date().toISOString();
  expect(await checkedAt(now)).toContain(`! assets: ${text} (the health check of ${now})`);
  expect(await checkedAt(new Date(Date.now() - 2 * 3_600_000).toISOString())).not.toContain(text);
});

test('the command ends with its screen, also where Temporal is away', async () => {
  const io = recordingIo();
  let shownAt = 0;
  const out = (line: string) => {
    io.out(line);
    shownAt = Date.now();
  };
  await main(['status', '--config', config], { ...io, out });
  expect(shownAt).toBeGreaterThan(0);
  expect(Date.now() - shownAt).toBeLessThan(500); // a connection is tried for seconds
}, 60_000);

test('--watch looks again until Ctrl-C and leaves with what it saw last', async () => {
  await backedUp('assets', 10);
  await backedUp('uploads', 5);
  const io = recordingIo();
  const ended = main(['status', '--config', config, '--watch', '1', '--output', 'json'], io);
  await waitUntil('a second look', async () => io.outLines.length >= 2);
  io.interrupt();
  expect(await ended).toBe(0);
  for (const line of io.outLines) expect(JSON.parse(line)).toMatchObject({ safety: 'LOOK AT IT' });
  expect((await look('--watch', 'often')).exitCode).toBe(2);
}, 60_000);

describe('the verdict', () => {
  const reason = (status: HealthReason['status']): HealthReason => ({
    alert: 'rpoBreached',
    status,
    text: 'too much',
    severity: 'critical',
    forSeconds: 600,
  });
  const store = (reasons: readonly HealthReason[]) =>
    ['orders', { value: { reasons } }] as unknown as StatusFacts['stores'][number];
  const well: StatusFacts = {
    at: '2026-11-23T00:00:00.000Z',
    application: 'shop',
    encryptionKeyId: null,
    role: { value: { activeSite: 'primary', epoch: 0, since: null } },
    stores: [store([])],
    counted: { value: EMPTY_TALLY },
    servers: { value: [] },
    running: { value: { followers: ['archive:shop:orders'], others: [] } },
    schedules: { value: [{ name: 'full', state: 'active' }] } as unknown as StatusFacts['schedules'],
    readiness: { value: [{ site: 'dr', at: '', ready: true, score: 100 }] },
    wantedFollowers: ['archive:shop:orders'],
  };

  test.each<[string, Partial<StatusFacts>, string, RegExp | null]>([
    ['nothing is wrong', {}, 'SAFE', null],
    ['a store has an error', { stores: [store([reason('error')])] }, 'NOT SAFE', /orders: too much/],
    [
      'a store cannot be judged',
      { stores: [['orders', { problem: 'no answer' }]] },
      'NOT SAFE',
      /orders cannot be judged/,
    ],
    [
      'what counts the backups is damaged',
      { counted: { problem: 'monitoring/backups.json is damaged' } },
      'LOOK AT IT',
      /which backups failed is not known: monitoring\/backups\.json is damaged/,
    ],
    ['a store has a warning', { stores: [store([reason('warning')])] }, 'LOOK AT IT', /orders: too much/],
    [
      'an archiver does not run',
      { running: { value: { followers: [], others: [] } } },
      'LOOK AT IT',
      /archive:shop:orders does not run/,
    ],
    [
      'a schedule is paused',
      { schedules: { value: [{ name: 'full', state: 'paused' }] } as unknown as StatusFacts['schedules'] },
      'LOOK AT IT',
      /schedule full is paused/,
    ],
    [
      'a failover would not succeed',
      { readiness: { value: [{ site: 'dr', at: '', ready: false, score: 50 }] } },
      'LOOK AT IT',
      /failover to dr would not succeed/,
    ],
    [
      'the active site was not ready when it was the other one',
      { readiness: { value: [{ site: 'primary', at: '', ready: false, score: 50 }] } },
      'SAFE',
      null,
    ],
    [
      'encryption is on, and what was stored last is plain',
      {
        encryptionKeyId: '9f86d081884c7d659a2feaa0c55ad015',
        stores: [['orders', { value: { reasons: [], isPlain: true } }]] as unknown as StatusFacts['stores'],
      },
      'LOOK AT IT',
      /newest backup of orders is not encrypted/,
    ],
    ['Temporal does not answer', { running: { problem: 'no answer' } }, 'LOOK AT IT', /what runs is not known/],
  ])('%s', (_, changes, safety, why) => {
    const verdict = verdictOf({ ...well, ...changes });
    expect(verdict.safety).toBe(safety);
    expect([...verdict.unsafe, ...verdict.toLookAt].join()).toMatch(why ?? /^$/);
  });
});
