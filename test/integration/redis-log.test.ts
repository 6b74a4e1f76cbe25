import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import * as tls from 'node:tls';
import { hasCode } from '../../core/errors';
import { selfSigned } from '../support/certificate';
import { type MemoryLogArchive, testContext } from '../support/engine-harness';
import { countOf, seededRandom } from '../support/random';
import { RunningArchiver } from '../support/redis-archiver';
import { failOver, startPair } from '../support/redis-pair';
import {
  connect,
  expectContent,
  fieldOf,
  iso,
  type Moment,
  momentOf,
  offsetOf,
  Store,
  timeOf,
} from '../support/redis-store';
import { randomWrite } from '../support/redis-workload';
import { redisFlavours, startRedis, waitUntil } from '../support/servers';

/** Archived at its site `primary`, with a full backup from which the log goes on. */
async function archiving(sites: ConstructorParameters<typeof Store>[0]) {
  const store = new Store(sites);
  const archiver = new RunningArchiver(store.engine, store.log);
  await archiver.reaches(1);
  await store.back();
  return { store, archiver };
}

async function archived(options: Parameters<typeof startRedis>[0] = {}) {
  const server = await startRedis(options);
  return { server, client: connect(server), ...(await archiving({ primary: server })) };
}

// Redis 7.0 does not tell its replicas how much a group has read of a stream (docs/redis.md): its full backups have it.
describe.each(['redis', 'valkey'] as const)('%s: the replication stream', (flavour) => {
  const random = seededRandom(`the replication stream of ${flavour}`);

  test('leads to random instants and offsets of a random workload, whatever was cut off meanwhile', async () => {
    const server = await startRedis({ flavour });
    const store = new Store({ primary: server }, { flavour });
    const client = connect(server);
    const archiver = new RunningArchiver(store.engine, store.log);
    await archiver.reaches(1);
    const moments: Moment[] = [];
    for (let round = 0; round < countOf('TARGETS', flavour === 'redis' ? 5 : 3); round += 1) {
      if (round % 5 === 0) await store.back();
      for (let step = 0; step < 150; step += 1) {
        await randomWrite(client, random);
        if (random.integer(200) === 0) await client.call('CLIENT', 'KILL', 'TYPE', 'replica');
        if (random.integer(300) === 0) await archiver.stop().then(() => archiver.start());
      }
      await client.select(0);
      moments.push(await momentOf(client, archiver));
    }
    await archiver.stop();
    expect(archiver.gaps).toEqual([]);
    for (const moment of moments) {
      // Within the next command, too: what is not whole at the target is not in it.
      const position = `${moment.offset + random.pick([0, 0, 1, 7])}`;
      const target = random.pick([
        { kind: 'time', time: iso(moment.at) },
        { kind: 'position', text: moment === moments.at(-1) ? `${moment.offset}` : position },
      ] as const);
      await expectContent(store, target, moment, target);
    }
    client.disconnect();
    await server.stop();
  }, 600_000);
});

test('a command meets what it met at the source, though its key would have expired long ago', async () => {
  const { server, store, client, archiver } = await archived();
  const soon = (await timeOf(client)) + 400;
  await client.call('SET', 'kept', '41', 'PXAT', soon);
  await client.incr('kept');
  await client.call('SET', 'gone', '1', 'PXAT', soon);
  await client.persist('kept');
  const moment = await momentOf(client, archiver);
  expect([...moment.content.keys.keys()]).toEqual(['0/gone', '0/kept']);
  await archiver.stop();
  await waitUntil('the keys to expire', async () => (await client.exists('gone')) === 0);
  await store.restored({ kind: 'time', time: iso(moment.at) }, async (copy) => {
    expect(await copy.get('kept')).toBe('42');
    // It was loaded, and expires as it would have at the source: by the clock of the copy.
    expect(await copy.exists('gone')).toBe(0);
    expect(fieldOf(await copy.info('stats'), 'expired_keys')).toBe('1');
  });
  client.disconnect();
  await server.stop();
}, 60_000);

test('a value larger than a piece lies in several, and is there or not at all', async () => {
  const { server, store, client, archiver } = await archived({ settings: { maxmemory: '1gb' } });
  await client.select(2);
  await client.set('before', '1');
  const before = await offsetOf(client);
  const value = Buffer.alloc(50 * 1024 * 1024, 'large');
  await client.set('large', value);
  await client.multi().set('large:2', value).incr('before').exec();
  await archiver.reaches(await timeOf(client));
  // A full whose position lies just behind: it needs nothing that was stored before.
  await store.back();
  await client.set('after', '1');
  await archiver.reaches(await timeOf(client));
  await archiver.stop();
  const pieces = await store.log.entries(archiver.lineage);
  expect(pieces.filter(({ name }) => name.includes('.part.')).length).toBeGreaterThan(4);
  expect(Math.max(...pieces.map(({ sizeBytes }) => sizeBytes))).toBeLessThan(40 * 1024 * 1024);
  await store.restored({ kind: 'position', text: `${before + 20_000_000}` }, async (copy) => {
    await copy.select(2);
    expect(await copy.keys('*')).toEqual(['before']);
  });
  await store.restored({ kind: 'latest' }, async (copy) => {
    await copy.select(2);
    expect((await copy.keys('*')).toSorted()).toEqual(['after', 'before', 'large', 'large:2']);
    expect((await copy.getBuffer('large:2'))?.equals(value)).toBe(true);
    expect(await copy.get('before')).toBe('2');
  });
  client.disconnect();
  await server.stop();
}, 120_000);

test('a FAILOVER is no gap: the stream goes on under the other id, and one way leads through both', async () => {
  const { primary, dr, clients, stop } = await startPair();
  const { store, archiver } = await archiving({ primary, dr });
  await clients.primary.set('before', '1');
  const first = await momentOf(clients.primary, archiver);
  await failOver(clients.primary, dr, clients.dr);
  await archiver.stop();
  archiver.start('dr');
  await clients.dr.set('after', '1');
  const second = await momentOf(clients.dr, archiver);
  await archiver.stop();
  expect(archiver.gaps).toEqual([]);
  expect(await store.log.lineages()).toHaveLength(2);
  for (const moment of [first, second]) {
    await expectContent(store, { kind: 'time', time: iso(moment.at) }, moment, 'time');
    await expectContent(store, { kind: 'position', text: `${moment.offset}` }, moment, 'position');
  }
  const windows = await store.engine.windows({ backups: store.backups, log: store.log });
  expect(windows).toHaveLength(1);
  const parent = store.engine.log!.reach.parentOf(archiver.lineage, await store.log.history());
  expect(parent).toMatchObject({ lineage: store.backups[0]?.lineage });
  await stop();
}, 60_000);

test('what the old primary had beyond a promotion is no part of the new stream, and still restored by its time', async () => {
  const { primary, dr, clients, stop } = await startPair();
  const { store, archiver } = await archiving({ primary, dr });
  await clients.primary.set('shared', '1');
  await archiver.reaches(await timeOf(clients.primary));
  await waitUntil('the replica having it', async () => (await clients.dr.get('shared')) === '1');
  await clients.dr.call('REPLICAOF', 'NO', 'ONE');
  await clients.primary.set('lost', '1');
  const lost = await momentOf(clients.primary, archiver);
  await archiver.stop();
  archiver.start('dr');
  await clients.dr.set('won', '1');
  const won = await momentOf(clients.dr, archiver);
  await archiver.stop();
  expect(archiver.gaps).toEqual([]);
  await expectContent(store, { kind: 'time', time: iso(won.at) }, won, 'won');
  await expectContent(store, { kind: 'latest' }, won, 'latest');
  expect([...won.content.keys.keys()]).toEqual(['0/shared', '0/won']);
  const plan = await store.plan({ kind: 'time', time: iso(lost.at) });
  // Nobody listened at the new primary then: the state before is what is known, and that is said.
  if (plan.reaches.exact) await expectContent(store, { kind: 'time', time: iso(lost.at) }, lost, 'lost');
  await stop();
}, 60_000);

test('a stream that the server has dropped is a gap that is told until a base is taken, and nothing is stored behind it before', async () => {
  const { server, store, client, archiver: first } = await archived({ settings: { 'repl-backlog-size': '16kb' } });
  let archiver = first;
  await client.set('before', '1');
  const before = await momentOf(client, archiver);
  await archiver.stop();
  const stored = (await store.log.entries(archiver.lineage)).length;
  for (let index = 0; index < 40; index += 1) await client.set(`meanwhile:${index}`, Buffer.alloc(1_000));
  const missing = await offsetOf(client);
  const ask = (answeredGaps: string[] = []) =>
    store.engine.log!.archive(
      { site: 'primary', runForMilliseconds: 1, sliceMilliseconds: 1, answeredGaps },
      store.log,
      () => undefined,
      testContext(),
    );
  const told = await ask();
  expect(told.needsBase).toContain('has dropped the stream');
  expect((await ask()).needsBase).toBe(told.needsBase);
  expect(await store.log.entries(archiver.lineage)).toHaveLength(stored);
  archiver = new RunningArchiver(store.engine, store.log, 'primary', [told.needsBase!]);
  await store.back();
  await client.set('after', '1');
  const after = await momentOf(client, archiver);
  await archiver.stop();
  expect(archiver.gaps).toEqual([]);
  await expectContent(store, { kind: 'time', time: iso(before.at) }, before, 'before');
  await expectContent(store, { kind: 'time', time: iso(after.at) }, after, 'after');
  const refused = await store.plan({ kind: 'position', text: `${missing}` }).catch((error: unknown) => error);
  expect(hasCode(refused, 'PitrTargetUnreachable')).toBe(true);
  expect(await store.engine.windows({ backups: store.backups, log: store.log })).toHaveLength(2);
  client.disconnect();
  await server.stop();
}, 60_000);

test('a server that was killed begins a stream of its own: a base is asked for, and both sides of it are restored', async () => {
  const { server, store, archiver, client: first } = await archived({ settings: { appendfsync: 'always' } });
  let client = first;
  await client.set('before', '1');
  const before = await momentOf(client, archiver);
  await server.server.kill('SIGKILL');
  client.disconnect();
  await server.server.start();
  client = connect(server);
  await waitUntil('the gap told', async () => archiver.gaps.length === 1);
  expect(archiver.gaps[0]).toContain('has begun the stream');
  await store.back();
  await client.set('after', '1');
  const after = await momentOf(client, archiver);
  await archiver.stop();
  expect(archiver.gaps).toHaveLength(1);
  await expectContent(store, { kind: 'time', time: iso(before.at) }, before, 'before');
  await expectContent(store, { kind: 'time', time: iso(after.at) }, after, 'after');
  client.disconnect();
  await server.stop();
}, 60_000);

test('an instant at which no archiver listened gives the state before it, and says so', async () => {
  const { server, store, client, archiver } = await archived();
  await client.set('heard', '1');
  const heard = await momentOf(client, archiver);
  await archiver.stop();
  // A mark that was on its way still counts.
  const listeners = async () =>
    String(await client.call('CLIENT', 'LIST'))
      .trim()
      .split('\n').length;
  await waitUntil('the connections gone', async () => (await listeners()) === 1);
  await client.set('unheard', '1');
  const unheardAt = await timeOf(client);
  await waitUntil('a later millisecond', async () => (await timeOf(client)) > unheardAt);
  archiver.start();
  const again = await momentOf(client, archiver);
  await archiver.stop();
  const plan = await store.plan({ kind: 'time', time: iso(unheardAt) });
  expect(plan.reaches.exact).toBe(false);
  expect(plan.notes.join()).toContain('no archiver was connected between');
  await expectContent(store, { kind: 'time', time: iso(unheardAt) }, heard, 'unheard');
  expect((await store.plan({ kind: 'time', time: iso(again.at) })).reaches.exact).toBe(true);
  await expectContent(store, { kind: 'time', time: iso(again.at) }, again, 'again');
  client.disconnect();
  await server.stop();
}, 60_000);

test('what comes while a slice is stored is of the next one: under a load that never pauses the server hears of us, too', async () => {
  const { server, store, client, archiver } = await archived();
  await archiver.stop();
  let stored = 0;
  // As much again with each slice; it ends some time, so that an archiver which would not is told of.
  (store.log as MemoryLogArchive).beforeAppend = async () => {
    stored += 1;
    if (stored < 20) await client.incr('counted');
    await delay(20);
  };
  await client.incr('counted');
  const over = new AbortController();
  const ctx = testContext(over.signal);
  let storedAtFirstWord = 0;
  // Said after each look at fences and at the end of the round, and after each acknowledgement.
  ctx.progress = () => {
    if (stored === 0) return;
    storedAtFirstWord = stored;
    over.abort();
  };
  const request = { site: 'primary', runForMilliseconds: 60_000, sliceMilliseconds: 1 };
  await expect(store.engine.log!.archive(request, store.log, () => undefined, ctx)).rejects.toThrow(/abort/);
  expect(storedAtFirstWord).toBeGreaterThan(0);
  expect(storedAtFirstWord).toBeLessThan(10);
  client.disconnect();
  await server.stop();
}, 60_000);

test('two archivers of one stream harm nothing', async () => {
  const server = await startRedis();
  const store = new Store({ primary: server });
  const client = connect(server);
  const archivers = [new RunningArchiver(store.engine, store.log), new RunningArchiver(store.engine, store.log)];
  for (const each of archivers) await each.reaches(1);
  await store.back();
  for (let index = 0; index < 300; index += 1) await client.incr('counted');
  const moment = await momentOf(client, archivers[0]!);
  for (const each of archivers) await each.stop();
  expect(archivers.map(({ gaps }) => gaps)).toEqual([[], []]);
  await expectContent(store, { kind: 'time', time: iso(moment.at) }, moment, 'counted');
  client.disconnect();
  await server.stop();
}, 60_000);

/** What a primary says to its replicas by itself every ten seconds is a command of its stream, too. */
const WITHOUT_PINGS = { 'repl-ping-replica-period': '3600', 'repl-timeout': '7200' };

test('a fence ends the archiving once all is archived, makes the primary go no further, and lifted it is no gap', async () => {
  const { primary, dr, clients, stop } = await startPair(WITHOUT_PINGS);
  const { store, archiver } = await archiving({ primary, dr });
  await clients.primary.set('before', '1');
  expect(await store.engine.replication!.fence('primary', 'dr', 1, testContext())).toMatchObject({
    strength: 'proven',
  });
  clients.primary.disconnect(); // the fence has cut it off
  clients.primary = connect(primary);
  const info = async () => clients.primary.info('replication');
  await waitUntil('the archiver gone', async () => !/^slave\d:.*port=0,/m.test(await info()));
  const offset = await offsetOf(clients.primary);
  await archiver.stop();
  const last = (await store.log.entries(archiver.lineage)).at(-1)!;
  expect(Number(last.to.value)).toBe(offset);
  archiver.start();
  await archiver.stop();
  expect(await offsetOf(clients.primary)).toBe(offset);
  await store.engine.replication!.unfence('primary', 1, testContext());
  archiver.start();
  await clients.primary.set('after', '1');
  const after = await momentOf(clients.primary, archiver);
  await archiver.stop();
  expect(archiver.gaps).toEqual([]);
  await expectContent(store, { kind: 'time', time: iso(after.at) }, after, 'after');
  await stop();
}, 60_000);

test.each(redisFlavours())(
  '%s: by TLS, and as a user with no more rights than the documents name, the stream is archived and restored',
  async (flavour) => {
    const files = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-redis-tls-'));
    const certificate = selfSigned('redis.test');
    const caFile = path.join(files, 'certificate.pem');
    fs.writeFileSync(caFile, certificate.cert);
    const server = await startRedis({ flavour });
    // No build that a package registry has speaks TLS itself.
    const inFront = tls.createServer(certificate, (socket) => {
      const behind = net.connect({ host: server.host, port: server.port });
      void pipeline(socket, behind, socket).catch(() => undefined); // ended by either side
    });
    await new Promise<void>((listening) => inFront.listen(6380, server.host, listening));
    const client = connect(server);
    await client.call('ACL', 'SETUSER', 'drctl', 'on', `>${server.password}`, ...rightsInDocuments());
    const store = new Store(
      { primary: server },
      { flavour, sites: { port: 6380, user: 'drctl', tls: { caFile, serverName: 'redis.test' } } },
    );
    const archiver = new RunningArchiver(store.engine, store.log);
    await archiver.reaches(1);
    expect((await store.back()).warnings).toEqual([]);
    await client.set('kept', '1');
    const moment = await momentOf(client, archiver);
    await client.set('behind', '1');
    await archiver.stop();
    const connections = String(await client.call('ACL', 'LOG'));
    expect({ gaps: archiver.gaps, denied: connections }).toEqual({ gaps: [], denied: '' });
    expect([...moment.content.keys.keys()]).toEqual(['0/kept']);
    await expectContent(store, { kind: 'time', time: iso(moment.at) }, moment, 'by TLS');
    const other = new Store({ primary: server }, { flavour, sites: { port: 6380, tls: { caFile } } });
    const stranger = await other.engine.probe('primary', testContext());
    expect(stranger).toMatchObject({ reachable: false, problems: [expect.stringMatching(/certificate|altnames/i)] });
    client.disconnect();
    inFront.close();
    await server.stop();
    fs.rmSync(files, { recursive: true, force: true });
  },
  60_000,
);

/** What `docs/redis.md` asks for where nothing is to be fenced or promoted. */
function rightsInDocuments(): string[] {
  const text = fs.readFileSync(path.join(__dirname, '../../docs/redis.md'), 'utf8');
  const line = /^ACL SETUSER drctl on >… (resetchannels .*)$/m.exec(text)?.[1];
  if (!line) throw new Error('docs/redis.md names no rights');
  return line.split(' ');
}
