import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MongoClient } from 'mongodb';
import { compareOptimes, optimeOf } from '../../adapters/engines/mongodb/positions';
import type { Manifest } from '../../core/catalog';
import { compareFingerprints, type Fingerprint } from '../../core/recovery';
import { builtMongorestore, whyNoMongorestore } from '../../lab/mongo-tools/build';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { mongodCommand, mongodReady } from '../../lab/servers/mongodb';
import { serverFolder } from '../../lab/servers/process';
import { RunningServer } from '../../lab/servers/running-server';
import { MemoryLogArchive, MemoryVolumes, takeBackup, testContext } from '../support/engine-harness';
import { changeEveryKind, fillWithEveryKind } from '../support/mongodb-content';
import { parseArchive } from '../support/mongodb-archive';
import { type MongodbHarness, startMongodb } from '../support/mongodb-harness';

// On a person's machine without Go these are listed as not run. In CI a missing mongorestore fails the build.
const whyNot = whyNoMongorestore();

(whyNot && process.env['CI'] !== 'true' ? describe.skip : describe)('mongorestore reads what drctl stored', () => {
  const volumes = new Map<string, MemoryVolumes>();
  const servers: RunningServer[] = [];
  let mongorestore: string;
  let base: string;
  let harness: MongodbHarness;
  let log: MemoryLogArchive;
  let backup: Manifest;

  const archive = () => harness.archive(log);
  const sourcePrint = () => harness.engine.fingerprint({ site: 'primary' }, testContext());
  const usersOf = (client: MongoClient) =>
    client
      .db('admin')
      .collection('system.users')
      .find({}, { projection: { userId: 0 } })
      .sort({ _id: 1 })
      .toArray();

  /** An empty server that belongs to no set, and what drctl and a client see in it. */
  const emptyServer = async (name: string) => {
    const at = { host: await freeLoopbackHost(27017), port: 27017 };
    fs.chmodSync(base, 0o755);
    const dataDir = serverFolder(path.join(base, name));
    const server = new RunningServer({
      name,
      command: mongodCommand({ dataDir, ...at, replicaSet: null }),
      logFile: path.join(base, `${name}.log`),
      ready: () => mongodReady(at),
    });
    servers.push(server);
    await server.start();
    const restored = {
      directory: dataDir,
      state: 'open' as const,
      address: at,
      reachedPosition: null,
      reachedTime: null,
      notes: [],
    };
    return {
      restore: (...args: string[]) =>
        execFileSync(mongorestore, [`--host=${at.host}`, `--port=${at.port}`, '--oplogReplay', ...args], {
          stdio: 'pipe',
        }),
      print: (): Promise<Fingerprint> => harness.engine.fingerprint(restored, testContext()),
      users: async () => {
        const client = await new MongoClient(`mongodb://${at.host}:${at.port}/?directConnection=true`).connect();
        const users = await usersOf(client);
        await client.close();
        return users;
      },
    };
  };
  const archiveFile = () => {
    const file = path.join(base, 'dump.archive');
    fs.writeFileSync(file, volumes.get(backup.backupId)?.contents.get('dump.archive') as Buffer);
    return file;
  };

  beforeAll(async () => {
    mongorestore = await builtMongorestore();
    base = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-mongorestore-'));
    harness = await startMongodb();
    log = new MemoryLogArchive(harness.engine.log!.naming);
    await fillWithEveryKind(harness.client);
    await archive();
    // Changes go on while it is dumped, so that its oplog has something to do.
    const dump = { isRunning: true };
    const changing = (async () => {
      for (let round = 1; dump.isRunning; round += 1) await changeEveryKind(harness.client, round);
    })();
    backup = (await takeBackup(harness.engine, 'primary', volumes, [])).manifest;
    parseArchive(volumes.get(backup.backupId)?.contents.get('dump.archive') as Buffer);
    dump.isRunning = false;
    await changing;
    await archive();
    // The build too, where it was never built here.
  }, 900_000);
  afterAll(async () => {
    await Promise.all(servers.map((each) => each.kill()));
    await harness?.stop();
    fs.rmSync(base, { recursive: true, force: true });
  }, 60_000);

  test('the archive gives the state that drctl restores of it, users and roles too', async () => {
    const plan = await harness.engine.planRestore(
      { kind: 'backup', backupId: backup.backupId },
      { backups: [backup], log },
      testContext(),
    );
    const request = { restoreId: 'ours', plan, chain: [backup], place: harness.place() };
    const { restore } = harness.engine;
    await restore.rebuild(request, volumes.get(backup.backupId) as MemoryVolumes, log, testContext());
    await restore.replay(request, log, testContext());
    const ours = await harness.engine.fingerprint(await restore.open(request, testContext()), testContext());
    const theirs = await emptyServer('archive');
    theirs.restore(`--archive=${archiveFile()}`);
    expect(compareFingerprints(ours, await theirs.print())).toEqual([]);
    expect((await theirs.users()).map(({ _id }) => _id)).toEqual(
      expect.arrayContaining(['admin.drctl', 'kinds.clerk']),
    );
  }, 180_000);

  test('the archive and the log after it give the state of the source', async () => {
    await changeEveryKind(harness.client, 1_000_000);
    const expected = await sourcePrint();
    await archive();
    const folder = path.join(base, 'log');
    fs.mkdirSync(folder);
    let end = optimeOf(backup.stop!);
    for (const entry of await log.entries(backup.lineage!)) {
      if (compareOptimes(optimeOf(entry.to), end) > 0) {
        const parts: Buffer[] = [];
        for await (const part of await log.open(entry)) parts.push(part as Buffer);
        const bytes = Buffer.concat(parts);
        fs.appendFileSync(path.join(folder, 'oplog.bson'), bytes.subarray(bytes.readInt32LE(0)));
        end = optimeOf(entry.to);
      }
    }
    const theirs = await emptyServer('log');
    theirs.restore(`--archive=${archiveFile()}`);
    theirs.restore(folder);
    expect(compareFingerprints(expected, await theirs.print())).toEqual([]);
    expect(await theirs.users()).toEqual(await usersOf(harness.client));
  }, 180_000);
});
