import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MongoClient } from 'mongodb';
import { newestCommitted } from '../../adapters/engines/mongodb/oplog';
import { compareOptimes, optimeOf } from '../../adapters/engines/mongodb/positions';
import type { ArchiveOutcome, Engine } from '../../core/engine';
import type { LogArchive } from '../../core/log-archive';
import type { RestorePlace } from '../../core/recovery';
import { Secret } from '../../core/secret';
import { engineOf } from './engine-harness';
import { startSilentServer } from './silent-server';
import { serverBinaries, startMongoReplicaSet, type TestReplicaSet } from './servers';

export interface MongodbHarness {
  readonly set: TestReplicaSet;
  readonly engine: Engine<'mongodb'>;
  /** The set as root. */
  readonly client: MongoClient;
  place(): RestorePlace;
  /** Archives until everything that a majority has now is in the log, or a new base is asked for. */
  archive(log: LogArchive, runForMilliseconds?: number): Promise<ArchiveOutcome>;
  stop(): Promise<void>;
}

/**
 * Members of a real set: of five, two at `primary`, two at `dr` and one at `witness`; of three or two, one at each in that
 * order; one alone is at `primary`. `nowhere` is dead, `silent` never answers; `living` leaves these out, because each look at the whole set waits
 * for them.
 */
export async function startMongodb(
  options: { members?: number; extra?: readonly string[]; living?: boolean } = {},
): Promise<MongodbHarness> {
  const { members = 2, extra, living = false } = options;
  const set = await startMongoReplicaSet({ members, ...(extra ? { extra } : {}), priorities: [3, 2, 1, 1, 0] });
  const silent = await startSilentServer(27017);
  const host = (index: number) => `${set.members[index]?.host}:${set.members[index]?.port}`;
  const indexes = Array.from({ length: members }, (_, index) => index);
  const site = (from: number, to: number) => ({ members: indexes.slice(from, to).map(host) });
  const each = members > 3 ? 2 : 1;
  const split = { primary: site(0, each), ...(members > 1 && { dr: site(each, 2 * each) }) };
  const client = await new MongoClient(set.url).connect();
  // The engine's user has exactly the roles that settings.ts asks for.
  const roles = [
    ...['backup', 'clusterManager', 'clusterMonitor', 'readAnyDatabase'].map((role) => ({ role, db: 'admin' })),
    { role: 'read', db: 'local' },
    { role: 'readWrite', db: 'drctl' },
  ];
  const password = randomBytes(12).toString('hex');
  await client.db('admin').command({ createUser: 'drctl', pwd: password, roles, writeConcern: { w: members } });
  const parsed = {
    replicaSet: set.name,
    user: 'drctl',
    password: new Secret(password),
    sites: {
      ...split,
      ...(members > 2 ? { witness: site(2 * each, members) } : {}),
      ...(!living && {
        silent: { members: [`${silent.host}:${silent.port}`] },
        nowhere: { members: ['127.23.255.254:27017'] },
      }),
    },
    allowPrimary: true,
    toolsDirectory: path.dirname(serverBinaries().mongod),
  };
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-mongodb-restore-'));
  const engine = (await engineOf('mongodb', 'orders', parsed)) as Engine<'mongodb'>;
  const places: RestorePlace[] = [];
  const ctx = {
    signal: new AbortController().signal,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    progress() {},
  };
  return {
    set,
    engine,
    client,
    place: () => {
      const directory = path.join(base, `${places.length}`);
      const place = { directory, host: '127.23.0.9', port: 0, osUser: null, overwrite: false };
      places.push(place);
      return place;
    },
    async archive(log, runForMilliseconds = 1_500) {
      const { optime } = await newestCommitted(client);
      const request = { site: 'primary', runForMilliseconds, sliceMilliseconds: 100 };
      for (;;) {
        const outcome = await engine.log!.archive(request, log, () => undefined, ctx);
        // On a busy machine a run may be over before it stored anything, and the next one would begin behind what came meanwhile.
        const isThere = compareOptimes(optimeOf(outcome.durable), optime) >= 0;
        const hasStored = (await log.entries(outcome.lineage)).length > 0;
        if (outcome.needsBase !== null || (isThere && hasStored)) return outcome;
      }
    },
    async stop() {
      for (const place of places) await engine.restore.discard(place, ctx).catch(() => undefined); // a test may have put other files there
      await client.close();
      await Promise.all([silent.stop(), set.stop()]);
      fs.rmSync(base, { recursive: true, force: true });
    },
  };
}
