import * as path from 'node:path';
import { type Document, MongoClient, type Timestamp } from 'mongodb';
import { optimeFrom } from '../../adapters/engines/mongodb/oplog';
import type { Optime } from '../../adapters/engines/mongodb/positions';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { initiateReplicaSet, mongodCommand, mongodReady, mongoUrl } from '../../lab/servers/mongodb';
import { serverFolder, waitUntil } from '../../lab/servers/process';
import { RunningServer } from '../../lab/servers/running-server';
import type { Rig } from '../rig';

/** A set of two that hold data: the primary, and the secondary that ours and the peers read. */
export interface ReplicaSet {
  readonly name: string;
  readonly host: string;
  readonly members: readonly { readonly host: string; readonly port: number }[];
  /** The whole set, of which the primary is written to. */
  readonly client: MongoClient;
  /** Of the secondary alone. */
  readonly secondaryUrl: string;
  readonly serverVersion: string;
  /** The newest entry that a majority has. */
  newest(): Promise<Optime>;
  /** Resolves when the secondary has everything. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export const SITE = 'primary';
/** The database with what is measured. */
export const DATABASE = 'bench';
const PORT = 27017;
const CATCH_UP_MILLISECONDS = 600_000;

export async function startReplicaSet(rig: Rig, name: string, cacheGigabytes?: number): Promise<ReplicaSet> {
  rig.say(`starting the replica set ${name}`);
  const servers: RunningServer[] = [];
  const clients: MongoClient[] = [];
  const stop = async () => {
    await Promise.all(clients.map((each) => each.close()));
    await Promise.all(servers.map((each) => each.kill()));
  };
  rig.defer(stop);
  const members: { host: string; port: number; priority: number }[] = [];
  for (const priority of [1, 0]) {
    const at = { host: await freeLoopbackHost(PORT), port: PORT };
    const folder = serverFolder(path.join(rig.folder, `${name}-${priority === 1 ? 'primary' : 'secondary'}`));
    const server = new RunningServer({
      name: `MongoDB ${at.host} of ${name}`,
      command: mongodCommand({
        dataDir: serverFolder(path.join(folder, 'db')),
        ...at,
        replicaSet: name,
        cacheGigabytes,
      }),
      logFile: path.join(folder, 'mongod.log'),
      ready: () => mongodReady(at),
    });
    servers.push(server);
    await server.start();
    members.push({ ...at, priority });
  }
  await initiateReplicaSet({ name, members });
  const client = await new MongoClient(mongoUrl(name, members)).connect();
  clients.push(client);
  const admin = client.db('admin');
  const [primary, secondary] = members;
  if (!primary || !secondary) throw new Error('a set has two members');
  const hello = (): Promise<Document> => admin.command({ hello: 1 });
  return {
    name,
    host: primary.host,
    members,
    client,
    secondaryUrl: `mongodb://${secondary.host}:${PORT}/?directConnection=true`,
    serverVersion: String((await admin.command({ buildInfo: 1 }))['version']),
    newest: async () => optimeFrom((await hello())['lastWrite'].majorityOpTime.ts as Timestamp),
    async settled() {
      await waitUntil(
        `the secondary of ${name} having everything`,
        async () => {
          const { lastWrite } = await hello();
          return (lastWrite.opTime.ts as Timestamp).equals(lastWrite.majorityOpTime.ts as Timestamp);
        },
        { deadlineMs: CATCH_UP_MILLISECONDS },
      );
      await admin.command({ fsync: 1 });
    },
    stop,
  };
}

/** What a server holds of the measured data, told by the server itself. */
export async function contentOf(client: MongoClient): Promise<string> {
  const { md5 } = await client.db(DATABASE).command({ dbHash: 1 });
  const stats = await client.db(DATABASE).stats();
  return `${stats['objects']} documents, ${stats['indexes']} indexes, ${md5}`;
}
