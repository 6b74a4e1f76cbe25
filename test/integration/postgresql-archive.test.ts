import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { entryBytes } from '../../adapters/engines/postgresql/entry-bytes';
import { parseLsn, positionAt, segmentName, segmentStart, timelineOf } from '../../adapters/engines/postgresql/lsn';
import { noteEpoch } from '../../adapters/engines/postgresql/role-epoch';
import { createRepository } from '../../adapters/repository';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { compareFingerprints } from '../../core/recovery';
import type { LogArchive, LogEntry } from '../../core/log-archive';
import type { Repository } from '../../core/repository';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { isRoot, serverFolder } from '../../lab/servers/process';
import { combinedSource, testContext } from '../support/engine-harness';
import { ask, PostgresSource } from '../support/postgresql-source';
import { promoteAlone, startPostgresStandby } from '../support/postgresql-standby';
import { countOf, seededRandom } from '../support/random';
import { startTestS3 } from '../support/s3-repository';
import { postgresTool, postgresVersions, startPostgres, waitUntil } from '../support/servers';

const KILLS = countOf('KILLS', 2);
const { seed, integer, pick } = seededRandom('postgresql-archive');
const SEGMENT_BYTES = 16n * 1024n * 1024n;

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-archive-'));
fs.chmodSync(root, 0o755);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const keptLog = async (source: PostgresSource) => (await source.engine.probe('primary', testContext())).keptLog;
const problems = async (source: PostgresSource) =>
  (await source.engine.probe('primary', testContext())).problems.join('\n');

async function writeWal(url: string, mebibytes: number): Promise<void> {
  await inPostgres(url, async (client) => {
    await client.query('CREATE TABLE IF NOT EXISTS filler (body text)');
    for (let done = 0; done < mebibytes; done += 16) {
      await client.query('INSERT INTO filler SELECT repeat(md5(g::text), 32) FROM generate_series(1, 15000) g');
      await client.query('TRUNCATE filler');
      await client.query('CHECKPOINT');
    }
  });
}

/** An archiver is known to have been at a server by its heartbeat, for which a short round may have no time. */
async function archiveUntilItBeats(source: PostgresSource, url: string): Promise<void> {
  const beat = async () => (await ask(url, 'SELECT at::text FROM drctl.heartbeat').catch(() => []))[0]?.['at'];
  const before = await beat();
  await waitUntil('a heartbeat', async () => {
    await source.archive(500);
    return ![undefined, before].includes(await beat());
  });
  await source.archiveAll(url);
}

/** A copy of a server that is stopped: the same cluster, its slots too. */
async function startClone(
  server: { readonly dataDir: string; readonly password: string },
  folder: string,
  settings: Readonly<Record<string, string>>,
  programs: string | undefined,
) {
  const base = serverFolder(folder);
  const dataDir = path.join(base, 'data');
  fs.cpSync(server.dataDir, dataDir, { recursive: true, preserveTimestamps: true });
  const { uid, gid } = fs.statSync(server.dataDir);
  for (const each of fs.readdirSync(base, { recursive: true })) fs.chownSync(path.join(base, String(each)), uid, gid);
  fs.chmodSync(dataDir, 0o700);
  return startPostgres({ dataDir, password: server.password, settings, programs });
}

async function promote(server: Awaited<ReturnType<typeof startPostgres>>): Promise<void> {
  await promoteAlone(server);
  await ask(server.url, 'CREATE TABLE promoted AS SELECT 1 AS id');
}

/** What is stored must be what the server has in its own files, byte for byte, without a hole. Answers how much it compared. */
async function compareWithServer(log: LogArchive, lineage: string, dataDir: string): Promise<number> {
  const entries = await log.entries(lineage);
  let compared = 0;
  let end: bigint | null = null;
  for (const entry of entries) {
    const [from, to] = [parseLsn(entry.from.value), parseLsn(entry.to.value)];
    if (end !== null && from > end) throw new Error(`${lineage} has a hole before ${entry.name}`);
    end = end === null || to > end ? to : end;
    const name = segmentName(timelineOf(lineage), from, SEGMENT_BYTES);
    const own = fs.readFileSync(path.join(dataDir, 'pg_wal', name));
    const start = segmentStart(name, SEGMENT_BYTES);
    const stored = await entryBytes(log, entry);
    if (!stored.equals(own.subarray(Number(from - start), Number(to - start)))) {
      throw new Error(`${entry.name} is not what the server has in ${name}`);
    }
    compared += stored.length;
  }
  return compared;
}

/** What an archiver leaves that dies between a whole segment and the removal of its slices. */
async function sliceOfASegment(log: LogArchive, ofLineage: RegExp): Promise<LogEntry> {
  const lineage = (await log.lineages()).find((each) => ofLineage.test(each))!;
  const segment = (await log.entries(lineage)).find(({ kind }) => kind === 'segment')!;
  const content = (await entryBytes(log, segment)).subarray(0, 65_536);
  const to = positionAt(lineage, parseLsn(segment.from.value) + 65_536n);
  const name = `${segment.name}.00000000-00010000`;
  return log.append({ lineage, name, kind: 'slice', from: segment.from, to, coversUntil: null, content });
}

describe.each(postgresVersions)('PostgreSQL $version', ({ programs }) => {
  test('a slot that was lost while the archiver was down: seen, raised at once, mended by a new base', async () => {
    const limits = { max_slot_wal_keep_size: '32MB', max_wal_size: '64MB', min_wal_size: '32MB' };
    const server = await startPostgres({ programs, settings: limits });
    const source = await PostgresSource.of({ primary: server });
    expect(await keptLog(source)).toMatchObject({ holder: 'drctl_orders', state: 'unused' });
    expect(await problems(source)).not.toMatch(/slot/);
    await source.archiveAll(server.url);
    await source.back();
    const windowsNow = () => source.engine.windows({ backups: source.backups, log: source.log });
    // A window begins with the first sign of life that is archived behind its backup.
    const windowsUntil = (count: number) =>
      waitUntil(`window ${count}`, async () => {
        await source.archive(500);
        return (await windowsNow()).length >= count;
      });
    await windowsUntil(1);
    expect(await keptLog(source)).toMatchObject({ state: 'waiting', headroomBytes: expect.any(Number) });
    expect((await keptLog(source))!.keptBytes).toBeLessThan(16 * 1024 * 1024);
    await writeWal(server.url, 160);
    expect(await keptLog(source)).toMatchObject({ state: 'lost' });
    expect(await problems(source)).toMatch(/the replication slot drctl_orders is lost/);

    const began = Date.now();
    const stored = async () =>
      (await Promise.all((await source.log.lineages()).map((each) => source.log.entries(each)))).flat();
    const before = await stored();
    const gap = await source.archive(60_000);
    expect(gap.needsBase).toMatch(/^WAL from \S+ to \S+ of \d+\/1 is gone from the server/);
    expect(Date.now() - began).toBeLessThan(20_000); // the round is a minute long: a gap does not wait for its end
    // Nothing behind it is stored before it was taken up: an archiver that died there would have hidden it from the next.
    expect(await stored()).toEqual(before);
    source.answeredGaps.length = 0;
    await ask(server.url, 'CHECKPOINT');
    expect((await source.archive(60_000)).needsBase).toBe(gap.needsBase);
    await source.archive(1_000);
    expect((await stored()).length).toBeGreaterThan(before.length);
    source.answeredGaps.length = 0; // behind its first piece it is no gap any more
    const reading = source.archive(3_000);
    await waitUntil('the archiver reading the new slot', async () => (await keptLog(source))?.state === 'reading');
    await source.back();
    expect((await reading).needsBase).toBeNull();
    expect(await problems(source)).not.toMatch(/slot/);
    await windowsUntil(2);
    const windows = await windowsNow();
    expect(windows).toHaveLength(2);
    expect(Date.parse(windows[1]!.from)).toBeGreaterThan(Date.parse(windows[0]!.to));
    await server.stop();
  }, 120_000);

  test('a slot that somebody dropped: told of; nothing is lost while the WAL is still there', async () => {
    const server = await startPostgres({
      programs,
      settings: { wal_keep_size: '512MB', max_slot_wal_keep_size: '-1' },
    });
    const source = await PostgresSource.of({ primary: server });
    expect(await problems(source)).toMatch(/max_slot_wal_keep_size is -1/);
    await archiveUntilItBeats(source, server.url);
    await ask(server.url, "SELECT pg_drop_replication_slot('drctl_orders')");
    expect(await keptLog(source)).toMatchObject({ state: 'absent', keptBytes: null });
    expect(await problems(source)).toMatch(/the replication slot drctl_orders is gone/);
    await writeWal(server.url, 48);
    expect((await source.archiveAll(server.url)).needsBase).toBeNull();
    const [lineage] = await source.log.lineages();
    expect(await compareWithServer(source.log, lineage!, server.dataDir)).toBeGreaterThan(32 * 1024 * 1024);
    expect(await keptLog(source)).toMatchObject({ state: 'waiting' });
    await server.stop();
  }, 120_000);

  test('a primary that was just promoted has no slot yet: told of once its archiver has run and the slot is gone', async () => {
    const server = await startPostgres({ programs });
    const source = await PostgresSource.of({ primary: server });
    await archiveUntilItBeats(source, server.url);
    const dropped = () => ask(server.url, "SELECT pg_drop_replication_slot('drctl_orders')");
    await dropped();
    // A switchover notes the old primary first, and the new one for the same epoch after its promotion.
    for (const site of ['dr', 'primary']) {
      await inPostgres(server.url, (client) => noteEpoch(client, 'orders', { site, epoch: 1 }));
      expect(await keptLog(source)).toMatchObject({ state: 'unused' });
    }
    expect(await problems(source)).not.toMatch(/is gone/);
    await archiveUntilItBeats(source, server.url);
    await dropped();
    expect(await keptLog(source)).toMatchObject({ state: 'absent' });
    // A step that is repeated is no other promotion.
    await inPostgres(server.url, (client) => noteEpoch(client, 'orders', { site: 'primary', epoch: 1 }));
    expect(await keptLog(source)).toMatchObject({ state: 'absent' });
    await server.stop();
  }, 90_000);

  test('a server that takes any receiver for a synchronous standby: told of, with the statement that ends it', async () => {
    const server = await startPostgres({ programs });
    const source = await PostgresSource.of({ primary: server });
    const say = async (value: string) => {
      await ask(server.url, `ALTER SYSTEM SET synchronous_standby_names = '${value}'`);
      await ask(server.url, 'SELECT pg_reload_conf()');
    };
    await say('*');
    const reading = source.archive(3_000); // its own first commit does not wait for itself
    const state = async () =>
      (await ask(server.url, "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'drctl'"))[0]?.[
        'sync_state'
      ];
    await waitUntil('the archiver counting as synchronous', async () => (await state()) === 'sync');
    expect(await problems(source)).toMatch(
      /takes the archiver for a synchronous standby.*no standby.*: ALTER SYSTEM SET synchronous_standby_names = ''; SELECT/,
    );
    await say('');
    await waitUntil('the archiver asynchronous', async () => (await state()) === 'async');
    expect(await problems(source)).not.toMatch(/synchronous/);
    await reading;
    await server.stop();
  }, 60_000);

  test('two servers under one timeline: the second is refused at any position, and so is its promotion', async () => {
    const keep = { wal_keep_size: '256MB' };
    const server = await startPostgres({ programs, settings: keep });
    const source = await PostgresSource.of({ primary: server });
    await source.archiveAll(server.url);
    await server.server.stop();
    const clone = await startClone(server, path.join(root, `clone-${programs ? 15 : 18}`), keep, programs);
    await server.server.start();
    const other = await PostgresSource.of({ primary: clone });
    const stored = async () => ({
      entries: await Promise.all((await source.log.lineages()).map((each) => source.log.entries(each))),
      history: new Map(await source.log.history()),
    });
    const refused = async (why: RegExp) => {
      const before = await stored();
      await expect(other.archive(2_000, 'primary', source.log)).rejects.toMatchObject({
        type: 'LogGap',
        message: expect.stringMatching(why),
      });
      expect(await stored()).toEqual(before);
    };
    const [lineage] = await source.log.lineages();
    await ask(server.url, 'CREATE TABLE here AS SELECT 1 AS id');
    await source.archiveAll(server.url);
    await ask(clone.url, 'CREATE TABLE there AS SELECT g FROM generate_series(1, 5000) g');
    await refused(/WAL from \S+ to \S+ of .*\(split brain\)/); // in the middle of a segment: its slices tell

    for (const { url } of [server, clone]) {
      await ask(url, 'SELECT pg_switch_wal()');
      await ask(url, 'CREATE TABLE after_the_switch AS SELECT g FROM generate_series(1, 5000) g');
    }
    await source.archiveAll(server.url);
    const loseBehindTheSwitch = async (of: string) => {
      const entries = await source.log.entries(of);
      for (const each of entries.slice(entries.findLastIndex(({ kind }) => kind === 'segment') + 1))
        source.log.lose(each);
      expect((await source.log.entries(of)).at(-1)).toMatchObject({ kind: 'segment' });
    };
    await loseBehindTheSwitch(lineage!);
    await refused(/WAL at \S+ of .*\(split brain\)/); // exactly at a boundary no slice is there: the segment before it tells
    expect((await source.archiveAll(server.url)).needsBase).toBeNull();

    // A backup of the one is no backup with the log of the other, though that reaches beyond its end.
    const { backupId } = await other.back();
    await writeWal(server.url, 48);
    await source.archiveAll(server.url);
    await expect(
      source.engine.planRestore(
        { kind: 'backup', backupId },
        { backups: other.backups, log: source.log },
        testContext(),
      ),
    ).rejects.toMatchObject({
      type: 'PitrTargetUnreachable',
      message: expect.stringContaining(`does not hold the end of ${backupId}`),
    });

    // Promoted at another position than its twin, with the ancestor archived beyond it: refused before anything of it is kept.
    await promote(clone);
    await refused(/WAL .*\(split brain\)/);
    await promote(server);
    expect(await source.archiveAll(server.url)).toMatchObject({
      needsBase: null,
      lineage: expect.stringMatching(/\/2$/),
    });
    await refused(/00000002\.history \(split brain\)/); // now by the history files of one name
    await source.archiveAll(server.url);
    expect([...(await source.log.history()).keys()]).toEqual([expect.stringMatching(/-00000002\.history$/)]);
    for (const each of await source.log.lineages()) await compareWithServer(source.log, each, server.dataDir);
    await Promise.all([server.stop(), clone.stop()]);
  }, 90_000);

  test('damage at the end of the archive does not stop the archiver: a slice gives way to its segment, a segment is a gap', async () => {
    const server = await startPostgres({ programs, settings: { wal_keep_size: '256MB' } });
    const source = await PostgresSource.of({ primary: server });
    await source.archiveAll(server.url);
    await ask(server.url, 'CREATE TABLE t AS SELECT g FROM generate_series(1, 5000) g');
    await source.archiveAll(server.url);
    const [lineage] = await source.log.lineages();
    const last = async () => (await source.log.entries(lineage!)).at(-1)!;
    const slice = await last();
    expect(slice.kind).toBe('slice');
    source.log.damage(slice);
    await ask(server.url, 'SELECT pg_switch_wal()');
    expect((await source.archiveAll(server.url)).needsBase).toBeNull();
    expect((await source.log.entries(lineage!)).some(({ key }) => key === slice.key)).toBe(false);

    for (let each = await last(); each.kind === 'slice'; each = await last()) source.log.lose(each);
    const segment = await last();
    source.log.damage(segment);
    expect((await source.archive(2_000)).needsBase).toMatch(
      /^the archived log \S+ is damaged: nothing can be restored over/,
    );
    expect(await last()).toEqual(segment);
    expect((await source.archiveAll(server.url)).needsBase).toBeNull();
    expect(parseLsn((await last()).to.value)).toBeGreaterThan(parseLsn(segment.to.value));
    await server.stop();
  }, 60_000);

  test('two promotions in a row are followed, also by an archiver that was away during the first', async () => {
    const keep = { wal_keep_size: '512MB' };
    const first = await startPostgres({ programs, settings: keep });
    const second = await startPostgresStandby(first, keep, programs);
    const third = await startPostgresStandby(second, keep, programs);
    const tools = { toolsDirectory: programs ?? path.dirname(postgresTool('postgres')) };
    const source = await PostgresSource.of({ primary: first, second, third }, tools);
    const away = await PostgresSource.of({ primary: first, second, third }, tools);
    const caughtUp = (server: { url: string }, leader: { url: string }) =>
      waitUntil('the standby having everything', async () => {
        const [at] = await ask(leader.url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn');
        const [here] = await ask(server.url, 'SELECT pg_last_wal_replay_lsn() >= $1 AS there', [at!['lsn']]);
        return here!['there'] === true;
      });
    await ask(first.url, 'CREATE TABLE t (id int)');
    for (const each of [source, away]) await each.archiveAll(first.url);
    await source.back();
    await ask(first.url, 'INSERT INTO t VALUES (1)');
    for (const each of [source, away]) await each.archiveAll(first.url);
    await ask(first.url, 'INSERT INTO t VALUES (2)'); // seen by the standbys, archived by nobody yet
    await caughtUp(third, first);
    await first.server.kill('SIGKILL');

    await ask(second.url, 'SELECT pg_promote(true, 30)');
    await ask(second.url, 'INSERT INTO t VALUES (3)');
    expect(await source.archiveAll(second.url, 'second')).toMatchObject({
      needsBase: null,
      lineage: expect.stringMatching(/\/2$/),
    });
    await writeWal(second.url, 48);
    await ask(second.url, 'INSERT INTO t VALUES (4)');
    await source.archiveAll(second.url, 'second');
    await caughtUp(third, second);
    await second.server.kill('SIGKILL');
    const replaced = await sliceOfASegment(source.log, /\/2$/);

    await ask(third.url, 'SELECT pg_promote(true, 30)');
    await ask(third.url, 'INSERT INTO t VALUES (5)');
    const expected = await source.engine.fingerprint({ site: 'third' }, testContext());
    expect(await source.log.replaced(replaced.lineage)).toHaveLength(1);
    for (const [each, name] of [
      [source, 'followed'],
      [away, 'away'],
    ] as const) {
      const outcome = await each.archiveAll(third.url, 'third');
      expect(outcome).toMatchObject({ needsBase: null, lineage: expect.stringMatching(/\/3$/) });
      expect([...(await each.log.history()).keys()].map((key) => key.replace(/^\d+-/, '')).toSorted()).toEqual([
        '00000002.history',
        '00000003.history',
      ]);
      for (const lineage of await each.log.lineages()) {
        if (!lineage.endsWith('/1')) await compareWithServer(each.log, lineage, third.dataDir);
      }
      const catalog = { backups: source.backups, log: each.log };
      const plan = await source.engine.planRestore({ kind: 'latest' }, catalog, testContext());
      expect(plan.lineage).toMatch(/\/3$/);
      const place = {
        directory: path.join(root, `${name}-${programs ? 15 : 18}`),
        host: '127.22.0.4',
        port: 0,
        osUser: isRoot ? 'nobody' : null,
        overwrite: false,
      };
      const request = { restoreId: name, plan, chain: source.backups, place };
      await source.engine.restore.rebuild(request, combinedSource(source.volumes), each.log, testContext());
      const restored = await source.engine.restore.replay(request, each.log, testContext());
      expect(compareFingerprints(expected, await source.engine.fingerprint(restored, testContext()))).toEqual([]);
      await source.engine.restore.discard(place, testContext());
    }
    // Also of a timeline that has ended: nobody would come back for it.
    expect(await source.log.replaced(replaced.lineage)).toEqual([]);
    // A chain does not go on over a promotion: the full says why.
    const request = { backupId: '20260101T000000Z-incr-00000001', type: 'incr', site: 'third' } as const;
    const plan = await source.engine.planDump({ ...request, existing: source.backups }, testContext());
    expect(plan).toMatchObject({
      type: 'full',
      typeReason: expect.stringMatching(programs ? /no incremental/ : /the timeline has changed since/),
    });
    await Promise.all([third.stop(), second.stop(), first.stop()]);
  }, 240_000);
});

test('slices of a segment that was completed by an archiver that died then: the next one removes them, not before it has read the segment', async () => {
  const server = await startPostgres({ settings: { wal_keep_size: '512MB' } });
  const source = await PostgresSource.of({ primary: server });
  const directory = path.join(root, 'died');
  const repository = createRepository('local', { kind: 'local', directory, prefix: '' }, 'shop');
  const archiveOf = (over: Repository) => createLogArchive(over, 'orders', source.engine.log!.naming);
  const archive = (over: Repository = repository, milliseconds = 400) =>
    source.archive(milliseconds, 'primary', archiveOf(over));
  const dyingAfter = (share: number): Repository => ({
    ...repository,
    async delete(keys) {
      await repository.delete(keys.slice(0, Math.floor(keys.length * share)));
      throw new Error('the process died');
    },
  });
  /** Of the slices stored those whose segment is stored too: by the names alone. */
  const leftovers = async () => {
    const names: string[] = [];
    for await (const { key } of repository.list('data/log/orders/')) names.push(path.basename(key, '.zst'));
    return names.filter((name) => name.includes('.') && names.includes(name.split('.')[0]!));
  };
  const completeASegment = async (over: Repository) => {
    for (let slice = 0; slice < 2; slice += 1) {
      await ask(server.url, 'CREATE TABLE IF NOT EXISTS t (id int); INSERT INTO t SELECT generate_series(1, 100)');
      await archive();
    }
    await ask(server.url, 'INSERT INTO t VALUES (0); SELECT pg_switch_wal()');
    await expect(archive(over, 20_000)).rejects.toThrow('the process died');
  };
  await completeASegment(dyingAfter(0.5));
  expect(await leftovers()).not.toEqual([]);
  await archive();
  expect(await leftovers()).toEqual([]);

  await completeASegment(dyingAfter(0));
  await archive();
  expect(await leftovers()).toEqual([]);

  await ask(server.url, 'INSERT INTO t VALUES (0)');
  await archive();
  const [lineage] = await archiveOf(repository).lineages();
  const { key } = (await archiveOf(repository).entries(lineage!)).find(({ kind }) => kind === 'segment')!;
  await sliceOfASegment(archiveOf(repository), /./);
  const kept = await leftovers();
  expect(kept).toHaveLength(1);
  const [bytes, { metadata }] = [await repository.read(key), (await repository.head(key))!];
  await repository.put(key, bytes.subarray(0, -1), { metadata });
  expect((await archive()).needsBase).toBeNull(); // what is written now is archived all the same
  expect(await leftovers()).toEqual(kept);
  await repository.put(key, bytes, { metadata });
  await archive();
  expect(await leftovers()).toEqual([]);
  expect(await compareWithServer(archiveOf(repository), lineage!, server.dataDir)).toBeGreaterThan(2 * 2 ** 24);
  await server.stop();
}, 90_000);

// Only 18 invalidates slots for another reason than their WAL.
test('a slot that was invalidated because nobody read it for long: no gap while its WAL is there', async () => {
  const server = await startPostgres({
    settings: { idle_replication_slot_timeout: '1s', wal_keep_size: '512MB' },
  });
  const source = await PostgresSource.of({ primary: server });
  await source.archiveAll(server.url);
  await writeWal(server.url, 32);
  await waitUntil('the slot to be invalidated', async () => {
    await ask(server.url, 'CHECKPOINT');
    return (await keptLog(source))?.state === 'lost';
  });
  expect(await problems(source)).toMatch(/the replication slot drctl_orders is lost \(idle_timeout\)/);
  expect((await source.archiveAll(server.url)).needsBase).toBeNull();
  const [lineage] = await source.log.lineages();
  expect(await compareWithServer(source.log, lineage!, server.dataDir)).toBeGreaterThan(16 * 1024 * 1024);
  await server.stop();
}, 60_000);

test(`PostgreSQL and S3 killed at random moments leave no gap and no wrong byte (seed ${seed})`, async () => {
  const s3 = await startTestS3();
  const server = await startPostgres({ settings: { wal_keep_size: '4GB' } });
  const source = await PostgresSource.of({ primary: server });
  const log = createLogArchive(s3.repository('killed'), 'orders', source.engine.log!.naming);
  const stop = new AbortController();
  const failures: string[] = [];
  const archiving = (async () => {
    // As the workflow does: whatever ended a round, the next one begins at what is durable.
    while (!stop.signal.aborted) {
      await source.archive(2_000, 'primary', log).then(
        ({ needsBase }) => needsBase !== null && failures.push(needsBase),
        (error: { type?: string; message: string }) => {
          if (!['TargetUnreachable', 'RepositoryUnavailable', 'LockHeld'].includes(error.type ?? ''))
            failures.push(`${error.type}: ${error.message}`);
        },
      );
      await sleep(100);
    }
  })();
  const writing = (async () => {
    for (let round = 0; !stop.signal.aborted; round += 1) {
      const text = `INSERT INTO t SELECT g, repeat(md5(random()::text), ${1 + integer(40)}) FROM generate_series(1, ${1 + integer(3_000)}) g`;
      await ask(server.url, `CREATE TABLE IF NOT EXISTS t (id int, body text); ${text}`).catch(() => undefined); // it was killed
      if (round % 20 === 19) await ask(server.url, 'SELECT pg_switch_wal()').catch(() => undefined);
      await sleep(integer(150));
    }
  })();
  await waitUntil('the first pieces', async () => (await log.lineages()).length > 0);
  for (let kill = 0; kill < KILLS; kill += 1) {
    await sleep(300 + integer(1_500));
    const victim = pick([server.server, s3.server.server]);
    await victim.kill('SIGKILL');
    await sleep(integer(1_500));
    await victim.start();
  }
  await sleep(1_000);
  const [{ lsn }] = (await ask(server.url, 'SELECT pg_current_wal_flush_lsn()::text AS lsn')) as [{ lsn: string }];
  const fresh = () => createLogArchive(s3.repository('killed'), 'orders', source.engine.log!.naming);
  const [lineage] = await fresh().lineages();
  const reach = (entries: readonly LogEntry[]) =>
    entries.map(({ to }) => parseLsn(to.value)).reduce((a, b) => (a > b ? a : b));
  await waitUntil('everything archived', async () => reach(await fresh().entries(lineage!)) >= parseLsn(lsn), {
    deadlineMs: 60_000,
  });
  stop.abort();
  await Promise.all([archiving, writing]);
  expect({ seed, failures }).toEqual({ seed, failures: [] });
  expect(await compareWithServer(fresh(), lineage!, server.dataDir)).toBeGreaterThan(1_000_000);
  await server.stop();
  await s3.server.stop();
}, 300_000);
