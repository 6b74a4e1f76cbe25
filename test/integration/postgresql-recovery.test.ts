import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { createPostgresqlEngine } from '../../adapters/engines/postgresql/engine';
import { parseLsn } from '../../adapters/engines/postgresql/lsn';
import { pathsOf, readMarker } from '../../adapters/engines/postgresql/restore-place';
import { withRestored } from '../../adapters/engines/postgresql/restored-server';
import { settings } from '../../adapters/engines/postgresql/settings';
import { createLocalRepository } from '../../adapters/repository/local';
import { createLogArchive } from '../../adapters/repository/log-archive';
import type { RestoreRequest } from '../../core/engine';
import type { RestoredStore } from '../../core/recovery';
import { Secret } from '../../core/secret';
import { isRoot } from '../../lab/servers/process';
import { combinedSource, type MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { countOf, rounds, seededNumbers, seededRandom } from '../support/random';
import { startPostgresStandby } from '../support/postgresql-standby';
import { postgresTool, startPostgres, waitUntil } from '../support/servers';

const TARGETS = countOf('TARGETS', 6);
const { seed, integer } = seededRandom('postgresql-recovery');

/** One acknowledged transaction: when it was sent and acknowledged by our clock, and the whole content after it. */
interface Acknowledged {
  readonly sentAt: number;
  readonly acknowledgedAt: number;
  readonly digest: string;
}

/** The content of the table as rows in order; what a restore must equal. */
class Model {
  readonly rows = new Map<number, string>();

  digest(): string {
    const lines = [...this.rows].toSorted(([a], [b]) => a - b).map(([id, body]) => `${id}=${body}`);
    return createHash('sha256').update(lines.join('\n')).digest('hex');
  }
}

/** A single writer: every transaction changes several rows, and its journal says what content each led to. */
async function write(client: Client, model: Model, journal: Acknowledged[], pick: () => number, stop: AbortSignal) {
  for (let id = model.rows.size + 1; !stop.aborted; id += 1) {
    const body = `${id}-${Math.floor(pick() * 1e9)}`.repeat(1 + Math.floor(pick() * 40));
    const existing = [...model.rows.keys()][Math.floor(pick() * model.rows.size)] ?? 0;
    const removed = pick() < 0.2 ? ([...model.rows.keys()][Math.floor(pick() * model.rows.size)] ?? 0) : 0;
    const sentAt = Date.now();
    await client.query('BEGIN');
    await client.query('INSERT INTO entries VALUES ($1, $2)', [id, body]);
    await client.query('UPDATE entries SET body = $2 WHERE id = $1', [existing, `changed by ${id}`]);
    await client.query('DELETE FROM entries WHERE id = $1', [removed]);
    await client.query('COMMIT');
    model.rows.set(id, body);
    if (model.rows.has(existing)) model.rows.set(existing, `changed by ${id}`);
    model.rows.delete(removed);
    journal.push({ sentAt, acknowledgedAt: Date.now(), digest: model.digest() });
    if (pick() < 0.05) await sleep(pick() * 120);
  }
}

/** The contents that are right at an instant: after everything acknowledged before it, with or without what was in flight. */
function allowedAt(journal: readonly Acknowledged[], instant: number): string[] {
  const done = journal.findLastIndex((each) => each.acknowledgedAt < instant);
  const begun = journal.findLastIndex((each) => each.sentAt <= instant);
  return journal.slice(done, begun + 1).map((each) => each.digest);
}

async function contentOf(restored: RestoredStore): Promise<string> {
  const marker = (await readMarker(restored.directory))!;
  return withRestored(pathsOf(restored.directory), marker, async (client) => {
    const { rows } = await client.query('SELECT id, body FROM entries ORDER BY id');
    const lines = (rows as { id: number; body: string }[]).map(({ id, body }) => `${id}=${body}`);
    return createHash('sha256').update(lines.join('\n')).digest('hex');
  });
}

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-recovery-'));
fs.chmodSync(root, 0o755);
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(root, { recursive: true, force: true });
});

const toolsDirectory = () => path.dirname(postgresTool('postgres'));
const engineOf = (sites: Record<string, { host: string; port: number; password: string }>) => {
  const { sites: parsed, ...own } = settings.parse({
    sites: Object.fromEntries(
      Object.entries(sites).map(([name, { host, port, password }]) => [
        name,
        { host, port, password: new Secret(password) },
      ]),
    ),
  });
  return createPostgresqlEngine({
    store: 'orders',
    sites: parsed,
    settings: own,
    toolsDirectory: toolsDirectory(),
  });
};
const placeAt = (name: string) => ({
  directory: path.join(root, name),
  host: '127.22.0.2',
  port: 0,
  osUser: isRoot ? 'nobody' : null,
  overwrite: false,
});

function startArchiver(server: { host: string; port: number; password: string }, repository: string): ChildProcess {
  const { host, port, password } = server;
  const child = spawn(
    process.execPath,
    [
      '-r',
      path.join(__dirname, '../support/typescript-hook.cjs'),
      path.join(__dirname, '../support/postgresql-archiver.ts'),
    ],
    {
      env: {
        PATH: process.env['PATH'],
        ARCHIVER: JSON.stringify({ store: 'orders', repository, host, port, password }),
      },
      stdio: ['ignore', 'ignore', 'inherit'],
    },
  );
  children.push(child);
  return child;
}

test(`random instants equal the writer's journal, over archivers that were killed (seed ${seed})`, async () => {
  const server = await startPostgres();
  const client = new Client(server.url);
  await client.connect();
  await client.query('CREATE TABLE entries (id int PRIMARY KEY, body text NOT NULL)');
  const engine = engineOf({ primary: server });
  const repository = path.join(root, 'repository');
  const log = createLogArchive(
    createLocalRepository({ name: 'local', directory: repository, prefix: 'test' }),
    'orders',
    engine.log!.naming,
  );
  const [model, journal, stop] = [new Model(), [] as Acknowledged[], new AbortController()];
  let archiver = startArchiver(server, repository);
  const writing = write(client, model, journal, seededNumbers(seed), stop.signal);
  await waitUntil('the first entries of the log', async () => (await log.lineages()).length > 0);
  const volumes = new Map<string, MemoryVolumes>();
  const { manifest } = await takeBackup(engine, 'primary', volumes, []);
  for (const kill of rounds(4)) {
    await sleep(500 + integer(1_500));
    archiver.kill('SIGKILL');
    await new Promise((resolve) => archiver.once('exit', resolve));
    if (kill % 3 === 2) await client.query('SELECT pg_switch_wal()').catch(() => undefined);
    archiver = startArchiver(server, repository);
  }
  await sleep(1_000);
  stop.abort();
  await writing;
  const end = Date.now();
  const catalog = { backups: [manifest], log };
  await waitUntil('the log covering the last write', async () => {
    // A fresh view, as another process has it.
    const fresh = createLogArchive(
      createLocalRepository({ name: 'local', directory: repository, prefix: 'test' }),
      'orders',
      engine.log!.naming,
    );
    catalog.log = fresh;
    return (await engine.windows(catalog)).some((window) => Date.parse(window.to) > end);
  });
  archiver.kill('SIGKILL');
  const [lineage] = await catalog.log.lineages();
  const entries = await catalog.log.entries(lineage as string);
  const gaps = entries.slice(1).filter((each, index) => parseLsn(each.from.value) > parseLsn(entries[index]!.to.value));
  expect(gaps).toEqual([]);

  const first = Date.parse(manifest.consistentAt) + 1;
  const instants = Array.from({ length: TARGETS }, () => first + integer(end - first));
  for (const [index, instant] of [...instants, end].entries()) {
    const target = { kind: 'time', time: new Date(instant).toISOString() } as const;
    const plan = await engine.planRestore(target, catalog, testContext());
    const request: RestoreRequest = {
      restoreId: `at-${index}`,
      plan,
      chain: [manifest],
      place: placeAt(`at-${index}`),
    };
    await engine.restore.rebuild(request, combinedSource(volumes), catalog.log, testContext());
    const restored = await engine.restore.replay(request, catalog.log, testContext());
    const found = await contentOf(restored);
    expect({ seed, target: target.time, right: allowedAt(journal, instant).includes(found) }).toEqual({
      seed,
      target: target.time,
      right: true,
    });
    // The oracle tells neighbouring states apart: what is right now was not right two seconds earlier.
    const earlier = instant - 2_000 > first ? allowedAt(journal, instant - 2_000) : [];
    expect(earlier).not.toContain(found);
    await engine.restore.discard(request.place, testContext());
  }
  await client.end();
  await server.stop();
}, 300_000);

test('a primary is killed, its standby promoted, and the log goes on into the new timeline', async () => {
  const primary = await startPostgres({ settings: { wal_keep_size: '512MB' } });
  const client = new Client(primary.url);
  client.on('error', () => undefined);
  await client.connect();
  await client.query('CREATE TABLE entries (id int PRIMARY KEY, body text NOT NULL)');
  const standby = await startPostgresStandby(primary, { wal_keep_size: '512MB' });
  const engine = engineOf({ primary, dr: standby });
  const { replication, log: shipping } = engine;
  const repository = createLocalRepository({ name: 'local', directory: path.join(root, 'failover'), prefix: 'test' });
  const archive = createLogArchive(repository, 'orders', shipping!.naming);
  const run = (site: string, runForMilliseconds: number) =>
    shipping!.archive({ site, runForMilliseconds, sliceMilliseconds: 100 }, archive, () => undefined, testContext());

  await client.query("INSERT INTO entries SELECT g, 'before ' || g FROM generate_series(1, 1000) g");
  await run('primary', 2_500);
  const volumes = new Map<string, MemoryVolumes>();
  const { manifest } = await takeBackup(engine, 'primary', volumes, []);
  const before = await run('primary', 2_500);
  expect(before).toMatchObject({ needsBase: null });
  expect(before.coversUntil).not.toBeNull();

  const sample = await replication!.sample('primary', 'dr', testContext());
  expect(sample.problem).toBeNull();
  expect(sample.standby!.position.lineage).toBe(sample.primary!.position.lineage);
  expect(Date.parse(sample.standby!.appliedUntil!)).toBeGreaterThan(Date.now() - 60_000);
  await waitUntil('the standby having everything', async () => {
    const { primary: here, standby: there } = await replication!.sample('primary', 'dr', testContext());
    return there!.bytes! >= here!.bytes!;
  });

  const late = new Client(primary.url);
  late.on('error', () => undefined);
  await late.connect();
  await late.query("INSERT INTO entries VALUES (2001, 'last before the crash')");
  await waitUntil('the standby having the last row', async () => {
    const { primary: here, standby: there } = await replication!.sample('primary', 'dr', testContext());
    return there!.bytes! >= here!.bytes!;
  });
  await primary.server.kill('SIGKILL');
  expect(await replication!.fence('primary', 'dr', 7, testContext())).toMatchObject({ strength: 'none' });
  expect(await replication!.state('primary', testContext())).toBeNull();
  const evidence = [
    {
      strength: 'proven',
      site: 'primary',
      stores: ['orders'],
      epoch: 7,
      at: new Date().toISOString(),
      how: 'killed',
      by: 'test',
    },
  ] as const;
  const promoted = await replication!.promote({ site: 'dr', epoch: 7, evidence }, testContext());
  expect(promoted).toMatchObject({ site: 'dr', already: false });
  expect(promoted.position.lineage).toMatch(/\/2$/);

  const there = new Client(standby.url);
  await there.connect();
  await there.query("INSERT INTO entries VALUES (3001, 'after the failover')");
  const instant = new Date(Date.now() + 5).toISOString();
  await sleep(10);
  await there.query("INSERT INTO entries VALUES (3002, 'after the instant')");
  const after = await run('dr', 4_000);
  expect(after.lineage).toMatch(/\/2$/);
  expect(after.needsBase).toBeNull();

  const catalog = { backups: [manifest], log: archive };
  const plan = await engine.planRestore({ kind: 'time', time: instant }, catalog, testContext());
  expect(plan.lineage).toMatch(/\/2$/);
  const request = { restoreId: 'over', plan, chain: [manifest], place: placeAt('over') };
  await engine.restore.rebuild(request, combinedSource(volumes), archive, testContext());
  const restored = await engine.restore.replay(request, archive, testContext());
  const marker = (await readMarker(restored.directory))!;
  const rows = await withRestored(pathsOf(restored.directory), marker, (db) =>
    db.query('SELECT id FROM entries WHERE id > 1000 ORDER BY id'),
  );
  expect(rows.rows.map((row: { id: number }) => row.id)).toEqual([2001, 3001]);
  const opened = await engine.restore.open(request, testContext());
  expect(opened.address).not.toBeNull();
  await engine.restore.discard(request.place, testContext());
  await Promise.all([there.end(), late.end().catch(() => undefined), client.end().catch(() => undefined)]);
  await Promise.all([primary.stop(), standby.stop()]);
}, 120_000);
