import * as fs from 'node:fs';
import type * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { type Document, MongoClient } from 'mongodb';
import { createSiteFence } from '../../adapters/fence';
import { settings as fenceSettings } from '../../adapters/fence/settings';
import { findFailure } from '../../core/errors';
import type { FailureCode } from '../../core/failure-classes';
import type { FenceEvidence, ForceAttestation } from '../../core/fencing';
import { compareFingerprints } from '../../core/recovery';
import type { PromoteRequest } from '../../core/roles';
import { Secret } from '../../core/secret';
import { mongodCommand } from '../../lab/servers/mongodb';
import { serveSupervisor } from '../../lab/supervisor/api';
import { Supervisor } from '../../lab/supervisor/supervisor';
import {
  combinedSource,
  MemoryLogArchive,
  type MemoryVolumes,
  takeBackup,
  testContext,
} from '../support/engine-harness';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';
import { serverFile, waitUntil } from '../../lab/servers/process';

/** The members by what becomes of them: the old primary, the one that is kept, the witness (which holds data and may lead). */
const [OLD, KEPT, WITNESS] = [0, 1, 2];
const MAJORITY = { w: 'majority', wtimeoutMS: 10_000 } as const;
const FORCE: ForceAttestation = { by: 'erin', reason: 'both halls burnt down', at: '2026-11-22T13:00:00.000Z' };

/** Elections and restarts take seconds; a machine that is busy with something else takes longer. */
const until = (what: string, check: () => Promise<boolean>) => waitUntil(what, check, { deadlineMs: 90_000 });

/**
 * The primary site and the witness are lost, and with them a majority. One story in several tests. The old primary runs
 * under a host's agent, whose fence is the proof, and whose marker is what keeps it down when its site returns.
 */
describe('a set of three that loses its primary site and its witness', () => {
  let harness: MongodbHarness;
  let supervisor: Supervisor;
  let agent: http.Server;
  let folder: string;
  let proof: FenceEvidence;
  let key: string;
  let log: MemoryLogArchive;
  const roles = () => harness.engine.replication!;
  const serverOf = (index: number) => harness.set.members[index]!.server;
  const hostOf = (index: number) => `${harness.set.members[index]!.host}:${harness.set.members[index]!.port}`;

  /** One run of the archiver: long enough for what is written and for the heartbeat behind it. */
  const archive = (site: string, answeredGaps: string[] = []) =>
    harness.engine.log!.archive(
      { site, runForMilliseconds: 1_500, sliceMilliseconds: 100, answeredGaps },
      log,
      () => undefined,
      testContext(),
    );

  /** One member alone, as root. */
  async function ask<T>(index: number, use: (client: MongoClient) => Promise<T>): Promise<T> {
    const { user, password } = harness.set;
    const client = new MongoClient(`mongodb://${hostOf(index)}/`, {
      auth: { username: user, password },
      directConnection: true,
      serverSelectionTimeoutMS: 3_000,
    });
    try {
      return await use(await client.connect());
    } finally {
      await client.close();
    }
  }
  const command = (index: number, body: Document) => ask(index, (client) => client.db('admin').command(body));
  const configOf = async (index: number) => (await command(index, { replSetGetConfig: 1 }))['config'] as Document;
  const leads = async (index: number) => (await command(index, { hello: 1 }))['isWritablePrimary'] === true;
  const write = (index: number, id: string) =>
    ask(index, (client) =>
      client.db('shop').collection<{ _id: string }>('entries').insertOne({ _id: id }, { writeConcern: MAJORITY }),
    );
  const written = (index: number) =>
    ask(index, async (client) => {
      const options = { readPreference: 'secondaryPreferred' } as const;
      const found = await client.db('shop').collection<{ _id: string }>('entries').find({}, options).toArray();
      return found.map(({ _id }) => _id).toSorted();
    });
  const request = (more: Partial<PromoteRequest> = {}): PromoteRequest => ({
    site: 'dr',
    epoch: 1,
    evidence: [proof],
    ...more,
  });
  const refusal = async (more: Partial<PromoteRequest>, code: FailureCode): Promise<string> => {
    const error: unknown = await roles()
      .promote(request(more), testContext())
      .catch((thrown: unknown) => thrown);
    const found = findFailure(error);
    if (found?.code !== code) throw new Error(`${code} was expected, not: ${String(error)}`, { cause: error });
    return found.message;
  };

  beforeAll(async () => {
    harness = await startMongodb({ members: 3, living: true });
    key = fs.readFileSync(harness.set.keyFile!, 'utf8');
    folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-mongodb-forced-'));
    fs.chmodSync(folder, 0o755);
    supervisor = new Supervisor(folder);
    const token = 'the-supervisor-token';
    agent = await serveSupervisor({ supervisor, host: '127.0.0.1', port: 0, token, onShutdown: () => {} });
    const old = harness.set.members[OLD]!;
    await serverOf(OLD).stop();
    const place = { host: old.host, port: old.port, dataDir: old.dataDir };
    const mongod = mongodCommand({ ...place, replicaSet: harness.set.name, keyFile: harness.set.keyFile! });
    const site = { site: 'primary', kind: 'store', store: 'orders' } as const;
    await supervisor.register({ ...mongod, ...site, name: 'primary-orders', restart: true });
    await until('the primary leading again', () => leads(OLD));
    await until('everybody having what was kept', async () => {
      await ask(OLD, (client) =>
        client
          .db('shop')
          .collection<{ _id: string }>('entries')
          .updateOne({ _id: 'kept' }, { $set: {} }, { upsert: true, writeConcern: { w: 3, wtimeoutMS: 5_000 } }),
      );
      return true;
    });
    await serverOf(KEPT).kill('SIGKILL');
    await write(OLD, 'lost'); // by a majority, which the one that will be kept is not part of
    // So it is in the archive, too, and will be in no oplog.
    log = new MemoryLogArchive(harness.engine.log!.naming);
    await archive('primary');
    await serverOf(WITNESS).kill('SIGKILL');
    const { port } = agent.address() as AddressInfo;
    const settings = { kind: 'agent', url: `http://127.0.0.1:${port}`, token: new Secret(token), timeoutSeconds: 30 };
    proof = await createSiteFence(fenceSettings.parse(settings), ['orders']).fence('primary', 1, testContext());
    await serverOf(KEPT).start();
    await until(
      'the one that is kept answering as a secondary',
      async () => (await command(KEPT, { hello: 1 }))['secondary'] === true,
    );
  }, 200_000);
  afterAll(async () => {
    await supervisor?.shutdown();
    agent?.closeAllConnections();
    agent?.close();
    await harness?.stop();
    fs.rmSync(folder, { recursive: true, force: true });
  }, 200_000);

  test('the ordinary promotion is refused, and says what there is to do', async () => {
    expect(proof).toMatchObject({ strength: 'proven', site: 'primary', stores: ['orders'] });
    const why = 'without primary 1 of 3 votes answer: no majority could elect a primary';
    expect(await roles().mustForce?.('dr', 'primary', testContext())).toBe(why);
    const found = await roles().fence('primary', 'dr', 1, testContext());
    expect(found).toMatchObject({ strength: 'none', mustForce: why });
    expect(await refusal({}, 'MajorityLost')).toMatch(/orders is not promoted at dr: 1 of 3 votes answer/);
  }, 200_000);

  test('an attestation forces nothing while the old primary is not proven dead, or others may have elected one', async () => {
    const before = await configOf(KEPT);
    const attested = { ...proof, strength: 'attested' as const };
    expect(await refusal({ force: FORCE, evidence: [attested] }, 'FencingUnconfirmed')).toMatch(
      /no proof that its primary/,
    );
    // A proof about a site that does not have the missing votes says nothing of them.
    const elsewhere = { ...proof, site: 'nowhere' };
    expect(await refusal({ force: FORCE, evidence: [elsewhere] }, 'FencingUnconfirmed')).toMatch(/have 2 of 3 votes/);
    await refusal({ evidence: [] }, 'FencingUnconfirmed');
    expect(await configOf(KEPT)).toEqual(before);
    expect(await leads(KEPT)).toBe(false);
  }, 200_000);

  test('attested and proven it is forced: the rest leads alone, confirms by majority, and holds the epoch', async () => {
    const before = await configOf(KEPT);
    const done = await roles().promote(request({ force: FORCE }), testContext());
    expect(done).toMatchObject({ site: 'dr', already: false });
    expect(done.forced).toEqual({ kept: [hostOf(KEPT)], removed: [hostOf(OLD), hostOf(WITNESS)] });
    const after = await configOf(KEPT);
    expect(after['members']).toMatchObject([{ host: hostOf(KEPT), votes: 1 }]);
    // The jump by which it wins against any configuration of the old members; without a term it wins by version alone.
    expect(Number(after['version'])).toBeGreaterThan(Number(before['version']) + 10_000);
    expect(Number(after['term'] ?? -1)).toBe(-1);
    expect(await roles().epoch('dr', testContext())).toBe(1);
    expect(await roles().writeProbe('dr', 'hello', testContext())).toMatchObject({ site: 'dr' });
    await write(KEPT, 'new');
    // What the approver was warned of: it had been acknowledged by a majority.
    expect(await written(KEPT)).toEqual(['kept', 'new']);
    expect((await harness.engine.probe('dr', testContext())).problems).toEqual([
      expect.stringContaining(`${hostOf(OLD)}, ${hostOf(WITNESS)} were removed by force in epoch 1`),
    ]);
  }, 200_000);

  test('a second call goes on from what the first one left, also when that died before it had noted the epoch', async () => {
    const before = await configOf(KEPT);
    const again = await roles().promote(request({ force: FORCE }), testContext());
    expect(again).toMatchObject({ already: true, forced: { removed: [hostOf(OLD), hostOf(WITNESS)] } });
    await ask(KEPT, (client) => client.db('drctl').collection('epoch').deleteMany({}, { writeConcern: MAJORITY }));
    const resumed = await roles().promote(request({ force: FORCE }), testContext());
    expect(resumed).toMatchObject({ already: false, forced: { kept: [hostOf(KEPT)] } });
    expect(await roles().epoch('dr', testContext())).toBe(1);
    expect(await configOf(KEPT)).toEqual(before);
  }, 200_000);

  test('the archive ends with what was lost: a lineage and a base of its own go on behind the force, and are restored from', async () => {
    const [before] = await log.lineages();
    const ofBefore = await log.entries(before!);
    expect(ofBefore.length).toBeGreaterThan(0);
    const begun = await archive('dr');
    expect(begun.needsBase).not.toBeNull();
    expect(begun.lineage).not.toBe(before);
    expect(await log.lineages()).toEqual([before]);
    const volumes = new Map<string, MemoryVolumes>();
    const { manifest } = await takeBackup(harness.engine, 'dr', volumes, []);
    expect(manifest.lineage).toBe(begun.lineage);
    await write(KEPT, 'archived');
    const going = await archive('dr', [begun.needsBase!]);
    expect(going).toMatchObject({ lineage: begun.lineage, needsBase: null });
    expect((await archive('dr')).needsBase).toBeNull();
    expect(await log.entries(before!)).toEqual(ofBefore);

    const plan = await harness.engine.planRestore({ kind: 'latest' }, { backups: [manifest], log }, testContext());
    expect(plan.lineage).toBe(begun.lineage);
    const restore = { restoreId: 'forced', plan, chain: [manifest], place: harness.place() };
    await harness.engine.restore.rebuild(restore, combinedSource(volumes), log, testContext());
    await harness.engine.restore.replay(restore, log, testContext());
    const restored = await harness.engine.restore.open(restore, testContext());
    const live = await harness.engine.fingerprint({ site: 'dr' }, testContext());
    expect(compareFingerprints(live, await harness.engine.fingerprint(restored, testContext()))).toEqual([]);
    await harness.engine.restore.discard(restore.place, testContext());
    expect(await written(KEPT)).toEqual(['archived', 'kept', 'new']);
  }, 200_000);

  test('the site that returns stays down by its marker, and the witness alone elects nobody', async () => {
    expect(supervisor.startSite('primary').map(({ state }) => state)).toEqual(['fenced']);
    expect(() => supervisor.start('primary-orders')).toThrow(/fenced by epoch 1/);
    // Cut off from the one that was kept: its connections are refused by another key.
    serverFile(harness.set.keyFile!, 'anotherkeyofthosewhoarecutoff');
    await serverOf(WITNESS).start();
    await until('the witness being of the old set', async () => (await configOf(WITNESS))['members'].length === 3);
    await expect(command(WITNESS, { replSetStepUp: 1 })).rejects.toThrow(/./);
    expect(await leads(WITNESS)).toBe(false);
    // The engine knows nothing of markers: two of three votes are of the old set as far as it can see.
    const found = await roles().fence('primary', 'dr', 1, testContext());
    expect(found.strength).toBe('none');
    expect(found.how).toContain(`${hostOf(OLD)} does not answer, ${hostOf(WITNESS)} is of the old set`);
  }, 200_000);

  test('past the marker and cut off, the old members do elect a primary that confirms by majority: the split brain', async () => {
    await serverOf(WITNESS).kill('SIGKILL'); // so that it forgets what it was told: that lasts as long as its process
    await Promise.all([serverOf(OLD).start(), serverOf(WITNESS).start()]);
    await until('the old members electing', async () => (await leads(OLD)) || (await leads(WITNESS)));
    const stray = (await leads(OLD)) ? OLD : WITNESS;
    await write(stray, 'split');
    expect(await leads(KEPT)).toBe(true);
    // Rule 2: what is not held off is not called fenced.
    const first = await roles().fence('primary', 'dr', 1, testContext());
    expect(first.strength).toBe('none');
    expect(first.how).toMatch(/left behind by force: /);
    // The run that holds the fence asks again and again.
    await until('nobody leading the old members', async () => {
      await roles().fence('primary', 'dr', 1, testContext());
      return !(await leads(OLD)) && !(await leads(WITNESS));
    });
    const watchedUntil = Date.now() + 5_000; // two election timeouts
    await until('five seconds without a primary of the old members', async () => {
      if ((await leads(OLD)) || (await leads(WITNESS))) throw new Error('the old members elected again');
      return Date.now() > watchedUntil;
    });
    expect(await roles().writeProbe('dr', 'still', testContext())).toMatchObject({ site: 'dr' });
  }, 200_000);

  test('as soon as they hear of the kept one they know that they are removed, for good', async () => {
    await Promise.all([serverOf(OLD).kill('SIGKILL'), serverOf(WITNESS).kill('SIGKILL')]);
    serverFile(harness.set.keyFile!, key);
    await Promise.all([serverOf(OLD).start(), serverOf(WITNESS).start()]);
    const version = (await configOf(KEPT))['version'];
    for (const index of [OLD, WITNESS]) {
      await until('a removed member knowing it', async () => (await configOf(index))['version'] === version);
    }
    await Promise.all([serverOf(OLD).kill('SIGKILL'), serverOf(WITNESS).kill('SIGKILL')]);
    await serverOf(KEPT).kill('SIGKILL'); // they find nobody to ask this time
    await Promise.all([serverOf(OLD).start(), serverOf(WITNESS).start()]);
    for (const index of [OLD, WITNESS]) {
      await until('it knowing that still', async () => (await configOf(index))['version'] === version);
      await expect(command(index, { replSetStepUp: 1 })).rejects.toThrow(/./);
      await expect(write(index, 'refused')).rejects.toThrow(/not primary|not master|NotWritablePrimary/);
    }
    await serverOf(KEPT).start();
    await until('the kept one leading again', () => leads(KEPT));
    const found = await roles().fence('primary', 'dr', 1, testContext());
    expect(found).toMatchObject({ strength: 'proven' });
    expect(found.how).toContain(`${hostOf(OLD)} knows that it is removed`);
  }, 200_000);

  test('the way back: emptied, added without a vote, caught up, then given their votes one by one', async () => {
    const back = [OLD, WITNESS];
    for (const index of back) {
      await serverOf(index).kill('SIGKILL');
      const { dataDir } = harness.set.members[index]!;
      for (const name of fs.readdirSync(dataDir)) fs.rmSync(path.join(dataDir, name), { recursive: true });
      await serverOf(index).start();
    }
    const reconfigure = async (change: (members: Document[]) => void) => {
      const config = await configOf(KEPT);
      change(config['members'] as Document[]);
      await command(KEPT, { replSetReconfig: { ...config, version: Number(config['version']) + 1 } });
    };
    await reconfigure((all) => {
      for (const [n, index] of back.entries()) all.push({ _id: 10 + n, host: hostOf(index), votes: 0, priority: 0 });
    });
    for (const index of back) {
      await until('a member having everything again', async () => {
        const { members } = await command(KEPT, { replSetGetStatus: 1 });
        return (members as Document[]).some(
          (each) => each['name'] === hostOf(index) && each['stateStr'] === 'SECONDARY',
        );
      });
      await reconfigure((all) => {
        for (const each of all) if (each['host'] === hostOf(index)) Object.assign(each, { votes: 1, priority: 1 });
      });
    }
    await write(KEPT, 'together');
    for (const index of back) {
      await until('the same at both', async () => (await written(index)).join() === (await written(KEPT)).join());
    }
    expect(await written(KEPT)).toEqual(['archived', 'kept', 'new', 'together']);
    expect((await harness.engine.probe('dr', testContext())).problems).toEqual([]);
    expect(await roles().mustForce?.('dr', 'primary', testContext())).toBeNull();
    expect(await roles().fence('primary', 'dr', 1, testContext())).toMatchObject({ strength: 'proven' });
  }, 200_000);
});
