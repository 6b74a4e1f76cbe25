import { KillableArchiver, archivedIn } from '../support/killable-archiver';
import { countOf, seededRandom } from '../support/random';
import { caughtUp, failOver, follow, startPair } from '../support/redis-pair';
import { connect, expectContent, iso, type Moment, momentOf, Store, timeOf } from '../support/redis-store';
import { randomWrite } from '../support/redis-workload';
import { startTestS3 } from '../support/s3-repository';
import { startRedis, waitUntil } from '../support/servers';

const random = seededRandom('redis-log-kills');
const VICTIMS = ['archiver', 'S3', 'archiver and S3', 'server'] as const;

test('kill -9 of the archiver, of S3 and of the server while it writes: every moment before and between them is restored key by key', async () => {
  const [s3, server] = [await startTestS3(), await startRedis({ settings: { appendfsync: 'always' } })];
  const store = new Store({ primary: server }, { log: (order) => archivedIn(s3, order) });
  const archiver = new KillableArchiver(s3);
  archiver.start(server);
  await archiver.reaches(1);
  await store.back();
  let client = connect(server);
  const moments: Moment[] = [];
  let [killedServers, killed] = [0, ''];
  const rounds = countOf('KILLS', VICTIMS.length);
  for (let round = 0; round < rounds; round += 1) {
    const victim = VICTIMS[round % VICTIMS.length]!;
    killed += `${victim}; `;
    const fatal = 20 + random.integer(100);
    for (let step = 0; step < 150; step += 1) {
      await randomWrite(client, random);
      if (step !== fatal) continue;
      if (victim.includes('archiver')) await archiver.kill();
      if (victim.includes('S3')) await s3.server.server.kill('SIGKILL');
      if (victim === 'server') await server.server.kill('SIGKILL');
      // What is written without an archiver comes out of the backlog.
      if (victim !== 'server') for (let more = 0; more < 20; more += 1) await randomWrite(client, random);
      if (victim.includes('S3')) await s3.server.server.start();
      if (victim.includes('archiver')) archiver.start(server);
      if (victim !== 'server') continue;
      client.disconnect();
      await server.server.start();
      client = connect(server);
      killedServers += 1;
      await waitUntil('the new stream told', async () => archiver.gaps.length === killedServers);
      await store.back();
    }
    await client.select(0);
    moments.push(await momentOf(client, archiver));
  }
  expect(archiver.gaps).toHaveLength(killedServers);
  await archiver.kill();
  for (const moment of moments) await expectContent(store, { kind: 'time', time: iso(moment.at) }, moment, killed);
  await expectContent(store, { kind: 'latest' }, moments.at(-1)!, killed);
  client.disconnect();
  await server.stop();
  await s3.server.stop();
}, 600_000);

const VICTIMS_OF_FAILOVER = ['archiver and S3', 'old primary', 'archiver', 'S3'] as const;

test('kill -9 of the archiver, of S3 and of the old primary around a FAILOVER is no gap: every moment is restored key by key', async () => {
  const [s3, { primary, dr, clients, stop }] = [await startTestS3(), await startPair()];
  const servers = { primary, dr };
  const store = new Store(servers, { log: (order) => archivedIn(s3, order) });
  const archiver = new KillableArchiver(s3);
  let [active, other]: ['primary' | 'dr', 'primary' | 'dr'] = ['primary', 'dr'];
  archiver.start(servers[active]);
  await archiver.reaches(1);
  const moments: Moment[] = [];
  let killed = '';
  for (let round = 0; round < countOf('KILLS', 2); round += 1) {
    if (round % 5 === 0) {
      await store.back(active);
      // As a backup is committed only once the archived log covers it.
      await archiver.reaches(await timeOf(clients[active]));
    }
    const victim = VICTIMS_OF_FAILOVER[round % VICTIMS_OF_FAILOVER.length]!;
    killed += `${victim}; `;
    for (let step = 20 + random.integer(100); step > 0; step -= 1) await randomWrite(clients[active], random);
    if (victim.includes('archiver')) await archiver.kill();
    // What is written without an archiver comes out of the new primary's backlog.
    for (let step = 0; step < 20; step += 1) await randomWrite(clients[active], random);
    if (victim.includes('S3')) await s3.server.server.kill('SIGKILL');
    await failOver(clients[active], servers[other], clients[other]);
    [active, other] = [other, active];
    // It followed the old primary, which would begin a stream of its own when it is started again.
    if (!victim.includes('archiver')) await archiver.kill();
    for (let step = 0; step < 20; step += 1) await randomWrite(clients[active], random);
    if (victim === 'old primary') {
      await servers[other].server.kill('SIGKILL');
      clients[other].disconnect();
      await servers[other].server.start();
      clients[other] = connect(servers[other]);
      await follow(clients[other], servers[active], clients[active]);
    }
    if (victim.includes('S3')) await s3.server.server.start();
    archiver.start(servers[active]);
    for (let step = 0; step < 20; step += 1) await randomWrite(clients[active], random);
    await clients[active].select(0);
    await caughtUp(clients[other], clients[active]);
    moments.push(await momentOf(clients[active], archiver));
  }
  expect(archiver.gaps).toEqual([]);
  await archiver.kill();
  for (const moment of moments) await expectContent(store, { kind: 'time', time: iso(moment.at) }, moment, killed);
  await expectContent(store, { kind: 'latest' }, moments.at(-1)!, killed);
  await stop();
  await s3.server.stop();
}, 600_000);
