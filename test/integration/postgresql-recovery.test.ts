import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { createPostgresqlEngine } from '../../adapters/engines/postgresql/engine';
import { floorToSegment, formatLsn, parseLsn, segmentName } from '../../adapters/engines/postgresql/lsn';
import { readRecords } from '../../adapters/engines/postgresql/wal-records';
import { pathsOf, readMarker } from '../../adapters/engines/postgresql/restore-place';
import { withRestored } from '../../adapters/engines/postgresql/restored-server';
import { settings } from '../../adapters/engines/postgresql/settings';
import { createLocalRepository } from '../../adapters/repository/local';
import { createLogArchive } from '../../adapters/repository/log-archive';
import type { Manifest } from '../../core/catalog';
import type { Engine, RestoreRequest } from '../../core/engine';
import { failure } from '../../core/errors';
import type { LogArchive } from '../../core/log-archive';
import type { RecoveryTarget, RestoredStore } from '../../core/recovery';
import { heartbeatProblem } from '../../core/restored-heartbeat';
import { Secret } from '../../core/secret';
import { openPostgres } from '../../lab/servers/postgresql-client';
import { isRoot } from '../../lab/servers/process';
import { combinedSource, type MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { countOf, rounds, seededNumbers, seededRandom } from '../support/random';
import {
  allowedAt,
  CREATE_ENTRIES,
  digestOf,
  dumpedRecords,
  emptyJournal,
  endsOfTransactions,
  writeEntries,
} from '../support/postgresql-journal';
import { promoteAlone, startPostgresStandby } from '../support/postgresql-standby';
import { postgresTool, postgresVersions, startPostgres, waitUntil } from '../support/servers';

/** Of the ten kinds `npm test` takes five on 18 and the other five on 15. */
const TARGETS = countOf('TARGETS', 5);
const { seed, integer, pick } = seededRandom('postgresql-recovery');

async function contentOf(restored: RestoredStore): Promise<string> {
  const marker = (await readMarker(restored.directory))!;
  return withRestored(pathsOf(restored.directory), marker, async (client) => {
    const { rows } = await client.query('SELECT id, body FROM entries');
    return digestOf((rows as { id: number; body: string }[]).map(({ id, body }) => [id, body] as const));
  });
}

/** What the copy shows of the time agrees with the archive, whichever archivers were killed in between. */
async function expectHeartbeat(
  engine: Engine,
  { plan, chain }: RestoreRequest,
  restored: RestoredStore,
  log: LogArchive,
  time: string,
) {
  const at = (await engine.heartbeat?.in(restored, testContext())) ?? null;
  const noted = (await engine.heartbeat?.notedBefore?.(time, plan, { backups: chain, log })) ?? null;
  expect({ time, at, noted, problem: heartbeatProblem({ at, noted }, time) }).toMatchObject({ problem: null });
}

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-recovery-'));
fs.chmodSync(root, 0o755);
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(root, { recursive: true, force: true });
});

const toolsDirectory = (programs?: string) => path.dirname(postgresTool('postgres', programs));
const engineOf = (sites: Record<string, { host: string; port: number; password: string }>, programs?: string) => {
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
    toolsDirectory: toolsDirectory(programs),
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

/** On 18 the backups are a chain: a full and two incrementals. */
const incrementalsOf = (version: number) => (version >= 17 ? 2 : 0);

/** A server with its journal, its backups and an archive that archivers wrote which were killed. */
async function recordedWorld(programs: string | undefined, version: number, kills: number) {
  const server = await startPostgres({
    programs,
    settings: { track_commit_timestamp: 'on', wal_keep_size: '1GB', max_prepared_transactions: '5' },
  });
  let client = await openPostgres(server.url);
  await client.query(CREATE_ENTRIES);
  const [before] = (await client.query('SELECT pg_current_xact_id()::text AS xid')).rows as { xid: string }[];
  const engine = engineOf({ primary: server }, programs);
  const repository = path.join(root, `repository-${version}`);
  // A fresh view each time, as another process has it.
  const archived = () =>
    createLogArchive(
      createLocalRepository({ name: 'local', directory: repository, prefix: 'test' }),
      'orders',
      engine.log!.naming,
    );
  const [journal, numbers] = [emptyJournal(), seededNumbers(seed)];
  let [archiver, stop] = [startArchiver(server, repository), new AbortController()];
  let writing = writeEntries(client, journal, numbers, stop.signal);
  const killArchiver = async () => {
    archiver.kill('SIGKILL');
    await new Promise((resolve) => archiver.once('exit', resolve));
  };
  await waitUntil('the first entries of the log', async () => (await archived().lineages()).length > 0);
  const volumes = new Map<string, MemoryVolumes>();
  const backups: Manifest[] = [];
  const back = async (type: 'full' | 'incr') => {
    const { manifest } = await takeBackup(engine, 'primary', volumes, backups, { type });
    if (manifest.type !== type) throw new Error(`${type} asked, ${manifest.type} taken: ${manifest.typeReason}`);
    backups.push(manifest);
    return manifest;
  };
  const manifest = await back('full');
  const firstAfter = journal.entries.length + 1;
  for (const kill of rounds(kills)) {
    await sleep(500 + integer(1_500));
    await killArchiver();
    if (kill % 3 === 2) await client.query('SELECT pg_switch_wal()').catch(() => undefined);
    archiver = startArchiver(server, repository);
    if (backups.length <= incrementalsOf(version)) await back('incr');
  }
  await client.query('SELECT pg_switch_wal()'); // so that there is a segment before the last one, however few kills
  await sleep(1_000);
  stop.abort();
  await writing;
  const ofFirstTimeline = journal.entries.length;
  await killArchiver(); // what it did not get of the timeline its successor fetches from the promoted server
  await client.end();
  await promoteAlone(server);
  client = await openPostgres(server.url);
  archiver = startArchiver(server, repository);
  stop = new AbortController();
  writing = writeEntries(client, journal, numbers, stop.signal);
  await sleep(1_500);
  stop.abort();
  await writing;
  const end = Date.now();
  await waitUntil('the log covering the last write', async () =>
    (await engine.windows({ backups, log: archived() })).some((window) => Date.parse(window.to) > end),
  );
  await killArchiver();
  const dumped = await dumpedRecords(server.dataDir, manifest.start!.value, 1, programs);
  const history = fs.readFileSync(path.join(server.dataDir, 'pg_wal/00000002.history'), 'utf8');
  const [, switchLsn = ''] = /^1\t(\S+)/m.exec(history) ?? [];
  const dumpedAfter = await dumpedRecords(server.dataDir, switchLsn, 2, programs);
  const ends = endsOfTransactions([...dumped, ...dumpedAfter]);
  const stopWorld = async () => {
    await client.end();
    await server.stop();
  };
  const catalog = { backups, log: archived() };
  return {
    server,
    engine,
    journal,
    manifest,
    catalog,
    volumes,
    dumped,
    ends,
    end,
    firstAfter,
    ofFirstTimeline,
    before: before!.xid,
    stop: stopWorld,
  };
}

type World = Awaited<ReturnType<typeof recordedWorld>>;

/** A target, and the contents that are right for it. */
interface Aim {
  readonly target: RecoveryTarget;
  readonly right: readonly string[];
  /** The backups that it has to be restored from, where only these will do. */
  readonly chain?: readonly string[];
}

/** What the writer had done between the start and the stop of a backup, as indexes into the journal. */
function during({ journal }: World, { start, stop }: Manifest): number[] {
  const [from, to] = [parseLsn(start!.value), parseLsn(stop!.value)];
  return journal.entries.flatMap(({ lsnAfter }, index) =>
    parseLsn(lsnAfter) > from && parseLsn(lsnAfter) < to ? [index] : [],
  );
}

/** One random target of each kind after the other from kind `first` on, as many as wanted. */
function aimsOf(world: World, count: number, first: number): Aim[] {
  const { journal, manifest, ends, firstAfter, ofFirstTimeline } = world;
  const { backups } = world.catalog;
  const { entries, points } = journal;
  const after = entries.map((_, index) => index).filter((index) => index > firstAfter);
  const digest = (index: number) => [entries[index]!.digest];
  const inclusions: readonly { inclusive?: boolean }[] = [{}, { inclusive: true }, { inclusive: false }];
  /** A short one may have seen no transaction. */
  const inside = backups.slice(1).flatMap((backup) => during(world, backup).map((index) => ({ backup, index })));
  /** It is consistent only at its end: what happened until then is restored from the one before. */
  const insideABackup = (): Aim => {
    const { backup, index } = pick(inside);
    const until = backups.slice(0, backups.indexOf(backup)).map(({ backupId }) => backupId);
    return { target: { kind: 'position', text: entries[index]!.lsnAfter }, right: digest(index), chain: until };
  };
  const kinds: (() => Aim)[] = [
    () => {
      const [index, how] = [pick(after), pick(inclusions)];
      const target = { kind: 'transaction', id: entries[index]!.xid, ...how } as const;
      return { target, right: digest(how.inclusive === false ? index - 1 : index) };
    },
    () => {
      const [index, how] = [pick(after), pick(inclusions)];
      const target = { kind: 'position', text: ends.get(entries[index]!.xid)!, ...how } as const;
      return { target, right: digest(how.inclusive === false ? index - 1 : index) };
    },
    () => {
      const committed = after.filter((each) => entries[each]!.committedAt !== null);
      const [index, how] = [pick(committed), pick(inclusions)];
      const target = { kind: 'time', time: entries[index]!.committedAt!, ...how } as const;
      return { target, right: digest(how.inclusive === false ? index - 1 : index) };
    },
    () => {
      const point = pick(points.filter(({ name }) => Number(name.slice('point-'.length)) > firstAfter + 1));
      return { target: { kind: 'name', name: point.name }, right: [point.digest] };
    },
    () => {
      const instant = Date.parse(manifest.consistentAt) + 1 + integer(world.end - Date.parse(manifest.consistentAt));
      return { target: { kind: 'time', time: new Date(instant).toISOString() }, right: allowedAt(journal, instant) };
    },
    () => {
      // Between two transactions: the next one's commit is not the record there, so that both mean the same state.
      const [index, how] = [pick(after.slice(0, -1)), pick(inclusions)];
      return { target: { kind: 'position', text: entries[index]!.lsnAfter, ...how }, right: digest(index) };
    },
    () => ({ target: { kind: 'latest' }, right: digest(entries.length - 1) }),
    () => ({ target: { kind: 'latest', timeline: 1 }, right: digest(ofFirstTimeline - 1) }),
    () => {
      const { backupId, stop } = pick(backups);
      const consistent = parseLsn(stop!.value);
      const last = entries.findLastIndex((each) => {
        const at = ends.get(each.xid);
        return at === undefined || parseLsn(at) < consistent;
      });
      return { target: { kind: 'backup', backupId }, right: digest(last) };
    },
    ...(inside.length === 0 ? [] : [insideABackup]),
  ];
  return Array.from({ length: count }, (_, index) => kinds[(first + index) % kinds.length]!());
}

describe.each(postgresVersions)('PostgreSQL $version', ({ version, programs }) => {
  let world: World;
  beforeAll(async () => {
    world = await recordedWorld(programs, version, version === 18 ? 3 : 1);
  }, 300_000);
  afterAll(async () => world?.stop());

  const refusal = (target: RecoveryTarget) =>
    world.engine.planRestore(target, world.catalog, testContext()).catch((error: unknown) => error);

  test('the log has no gap over archivers that were killed', async () => {
    const { log } = world.catalog;
    const lineages = await log.lineages();
    expect(lineages).toHaveLength(2);
    for (const lineage of lineages) {
      const entries = await log.entries(lineage);
      const gaps = entries
        .slice(1)
        .filter((each, index) => parseLsn(each.from.value) > parseLsn(entries[index]!.to.value));
      expect(gaps).toEqual([]);
    }
  });

  test('the log is read as pg_waldump reads it, over borders of pages and segments', async () => {
    const { dumped, server } = world;
    const [bytes, from] = [2n ** 24n, floorToSegment(parseLsn(dumped[0]!.lsn), 2n ** 24n)];
    const last = floorToSegment(parseLsn(dumped.at(-1)!.lsn), bytes);
    const found: string[] = [];
    let head: Buffer | null = null;
    for (let at = last; at >= from; at -= bytes) {
      const content = await fs.promises.readFile(path.join(server.dataDir, 'pg_wal', segmentName(1, at, bytes)));
      const stretch = readRecords(content, at, 8192, head);
      found.unshift(...stretch.records.map(({ start, xid }) => `${formatLsn(start)} ${xid}`));
      head = stretch.head;
    }
    const wanted = dumped.map(({ lsn, xid }) => `${lsn} ${xid}`);
    expect(found.slice(found.indexOf(wanted[0]!), found.indexOf(wanted.at(-1)!) + 1)).toEqual(wanted);
    expect(last).toBeGreaterThan(from);
  });

  test(`targets of every kind equal the writer's journal (seed ${seed})`, async () => {
    const { engine, catalog, volumes } = world;
    for (const [index, { target, right, chain }] of aimsOf(world, TARGETS, version === 18 ? 8 : 3).entries()) {
      const plan = await engine.planRestore(target, catalog, testContext());
      expect(plan.chain).toEqual(chain ?? plan.chain);
      const name = `at-${version}-${index}`;
      const members = catalog.backups.filter(({ backupId }) => plan.chain.includes(backupId));
      const request: RestoreRequest = { restoreId: name, plan, chain: members, place: placeAt(name) };
      await engine.restore.rebuild(request, combinedSource(volumes), catalog.log, testContext());
      const restored = await engine.restore.replay(request, catalog.log, testContext());
      const found = await contentOf(restored);
      const at = world.journal.entries.findIndex((each) => each.digest === found);
      const wanted = right.map((digest) => world.journal.entries.findIndex((each) => each.digest === digest));
      expect({ seed, target, state: wanted.includes(at) ? 'right' : { at, wanted } }).toEqual({
        seed,
        target,
        state: 'right',
      });
      expect(restored).toMatchObject({ state: 'paused' });
      if (target.kind === 'time' && target.inclusive !== false)
        await expectHeartbeat(engine, request, restored, catalog.log, target.time);
      const least = target.kind === 'latest' ? Date.parse(plan.reaches.time) : 0;
      expect(Date.parse(restored.reachedTime ?? plan.reaches.time)).toBeGreaterThanOrEqual(least);
      await engine.restore.discard(request.place, testContext());
    }
  }, 1_200_000);

  test('a plan says when a target happened, and where', async () => {
    const { engine, catalog, journal, ends } = world;
    const entry = pick(journal.entries.slice(world.firstAfter + 1).filter(({ committedAt }) => committedAt !== null));
    const position = ends.get(entry.xid)!;
    const plan = (target: RecoveryTarget) => engine.planRestore(target, catalog, testContext());
    const byXid = await plan({ kind: 'transaction', id: entry.xid });
    expect(new Date(byXid.reaches.time)).toEqual(new Date(entry.committedAt!));
    expect(byXid.reaches.position?.value).toBe(position);
    expect(byXid.notes.join()).toContain('committed at');
    const byLsn = await plan({ kind: 'position', text: position });
    expect(byLsn.reaches.time).toBe(byXid.reaches.time);
    const before = await plan({ kind: 'position', text: position, inclusive: false });
    expect(Date.parse(before.reaches.time)).toBeLessThanOrEqual(Date.parse(byXid.reaches.time));
    expect(before.reaches.time).not.toBe(byXid.reaches.time);
    const latest = await plan({ kind: 'latest' });
    expect(latest.reaches.position).not.toBeNull();
    expect(Date.parse(latest.reaches.time)).toBeGreaterThan(world.end);
  });

  test('a piece that gives way to its segment meanwhile is read again; a damaged one hides only what it holds', async () => {
    const { engine, catalog, journal } = world;
    const broken = (times: number): typeof catalog => {
      const open: LogArchive['open'] = async (entry) => {
        const all = await catalog.log.entries(entry.lineage);
        if (entry.key !== all.at(-1)?.key || times <= 0) return catalog.log.open(entry);
        times -= 1;
        throw failure('BackupCorrupt', `${entry.key} is not there any more`);
      };
      return { ...catalog, log: { ...catalog.log, open } };
    };
    const plan = (target: RecoveryTarget, from: typeof catalog) => engine.planRestore(target, from, testContext());
    const early = { kind: 'transaction', id: journal.entries[world.firstAfter + 2]!.xid } as const;
    const failing = (target: RecoveryTarget) => plan(target, broken(1_000)).catch((error: unknown) => error);
    // Each waits for the next listing: all at once.
    const [again, passed, latest, none] = await Promise.all([
      plan({ kind: 'latest' }, broken(1)),
      plan(early, broken(1_000)),
      failing({ kind: 'latest' }),
      failing({ kind: 'name', name: 'never-made' }),
    ]);
    expect(again.reaches.position).not.toBeNull();
    expect(passed.reaches).toEqual((await plan(early, catalog)).reaches);
    expect(passed.notes.join()).toContain('could not be read and was passed over');
    expect(latest).toMatchObject({ type: 'BackupCorrupt' });
    expect(none).toMatchObject({ type: 'BackupCorrupt' });
  }, 60_000);

  test('what the archive does not hold is refused before anything is fetched', async () => {
    const last = world.journal.entries.at(-1)!;
    const none: RecoveryTarget[] = [
      { kind: 'position', text: world.manifest.start!.value }, // it is consistent only at its end
      { kind: 'transaction', id: String(BigInt(last.xid) + 1_000_000n) },
      { kind: 'transaction', id: world.before },
      { kind: 'name', name: 'never-made' },
      { kind: 'position', text: 'FF/0' },
      { kind: 'position', text: '0/1000000' },
      { kind: 'time', time: new Date(Date.now() + 3_600_000).toISOString() },
    ];
    for (const target of none)
      expect({ target, error: await refusal(target) }).toMatchObject({ error: { type: 'PitrTargetUnreachable' } });
    expect(await refusal({ kind: 'latest', timeline: 7 })).toMatchObject({
      type: 'NotFound',
      message: expect.stringMatching(/no timeline 7.*20\d\d-.*\(timeline 1\)/),
    });
    for (const target of [
      { kind: 'latest', inclusive: false },
      { kind: 'transaction', id: 'abc' },
      { kind: 'position', text: 'here' },
    ] as const)
      expect(await refusal(target)).toMatchObject({ type: 'UsageInvalid' });
  });
});

test('a primary is killed, its standby promoted, and the log goes on into the new timeline', async () => {
  const primary = await startPostgres({ settings: { wal_keep_size: '512MB' } });
  const client = await openPostgres(primary.url);
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

  const late = await openPostgres(primary.url);
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

  const there = await openPostgres(standby.url);
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
  expect(opened).toMatchObject({ state: 'open', address: { host: '127.22.0.2' } });
  await engine.restore.discard(request.place, testContext());

  const latest = await engine.planRestore({ kind: 'latest' }, catalog, testContext());
  expect(latest.lineage).toMatch(/\/2$/);
  expect(latest.notes.join()).toContain('ends on timeline 2; archived as well: 1');
  const first = await engine.planRestore({ kind: 'latest', timeline: 1 }, catalog, testContext());
  expect(first.lineage).toMatch(/\/1$/);
  const alone = { restoreId: 'first', plan: first, chain: [manifest], place: placeAt('first') };
  await engine.restore.rebuild(alone, combinedSource(volumes), archive, testContext());
  const old = await engine.restore.replay(alone, archive, testContext());
  const kept = await withRestored(pathsOf(old.directory), (await readMarker(old.directory))!, (db) =>
    db.query(
      'SELECT count(*) FILTER (WHERE id <= 1000)::int AS old, count(*) FILTER (WHERE id > 3000)::int AS new FROM entries',
    ),
  );
  expect(kept.rows).toEqual([{ old: 1000, new: 0 }]);
  await engine.restore.discard(alone.place, testContext());
  await expect(engine.planRestore({ kind: 'latest', timeline: 3 }, catalog, testContext())).rejects.toMatchObject({
    type: 'NotFound',
    message: expect.stringMatching(/no timeline 3.*\(timeline 1\).*\(timeline 2\)/),
  });

  // The promotion is given up and the old primary goes on: nobody but a person knows which end is the latest.
  await primary.server.start();
  const on = await openPostgres(primary.url);
  await on.query("INSERT INTO entries VALUES (4001, 'the old primary goes on')");
  await run('primary', 1_500);
  await expect(engine.planRestore({ kind: 'latest' }, catalog, testContext())).rejects.toMatchObject({
    type: 'PitrTargetUnreachable',
    message: expect.stringMatching(/two latest states: timeline 2 ends at .*, timeline 1 was written to after that/),
    details: [expect.objectContaining({ next: expect.stringContaining('--timeline 2 or --timeline 1') })],
  });
  for (const timeline of [1, 2]) {
    const said = await engine.planRestore({ kind: 'latest', timeline }, catalog, testContext());
    expect(said.lineage).toMatch(new RegExp(`/${timeline}$`));
  }
  await there.query("INSERT INTO entries VALUES (5001, 'the promoted one after all')");
  await run('dr', 1_500);
  expect((await engine.planRestore({ kind: 'latest' }, catalog, testContext())).lineage).toMatch(/\/2$/);
  await on.end();
  await Promise.all([there.end(), late.end().catch(() => undefined), client.end().catch(() => undefined)]);
  await Promise.all([primary.stop(), standby.stop()]);
}, 120_000);
