import * as fs from 'node:fs';
import * as path from 'node:path';
import { MongoClient } from 'mongodb';
import { initiateReplicaSet, mongodCommand, mongodReady, type MongoMember, mongoUrl } from '../servers/mongodb';
import { serverFile } from '../servers/process';
import type { ProgramSpec } from '../supervisor/program';
import type { AddressPlan } from './address-plan';
import { type LabBuild, runServer, storeFolder, STORES } from './build';
import { DATABASE } from './postgresql';

export const REPLICA_SET = 'ultramarket';
export const MONGO_USERS = {
  root: { name: 'root', secret: 'mongodb-root' },
  application: { name: 'ultramarket', secret: 'mongodb-application' },
  backup: { name: 'drctl', secret: 'mongodb-backup' },
} as const;

interface LabMember extends MongoMember {
  readonly name: string;
  readonly site: string;
}

/**
 * Five voters: two at each site and one at the witness, which holds data too. With an arbiter there, losing a site would leave
 * an elected leader but only two of the three copies that a majority write needs, so every such write would hang; with data,
 * three remain. And since a majority of five is three, a majority write is always on some member outside the site that is lost.
 */
function labMembers(plan: AddressPlan): LabMember[] {
  const member = (
    name: string,
    site: string,
    address: { host: string; port: number },
    priority: number,
  ): LabMember => ({
    ...address,
    name,
    site,
    priority,
    tags: { site },
  });
  return [
    member('mongodb-primary-1', 'primary', plan.sites.primary.mongodb[0], 10),
    member('mongodb-primary-2', 'primary', plan.sites.primary.mongodb[1], 9),
    member('mongodb-dr-1', 'dr', plan.sites.dr.mongodb[0], 5),
    member('mongodb-dr-2', 'dr', plan.sites.dr.mongodb[1], 4),
    member('mongodb-witness', 'witness', plan.witness, 0), // votes and keeps data, never leads: nobody runs services there
  ];
}

/** Starts the five members and makes them one set with the application's and the backup's users. */
export async function startMongoSites(build: LabBuild): Promise<void> {
  const members = labMembers(build.plan);
  const running = await Promise.all(members.map((member) => runMember(build, member)));
  const marker = path.join(build.folder, 'mongodb-initiated');
  if (fs.existsSync(marker)) return;
  if (!running.every(Boolean))
    throw new Error('the replica set was never initiated and a member is down: destroy this lab');
  const root = { user: MONGO_USERS.root.name, password: build.secrets.password(MONGO_USERS.root.secret) };
  await initiateReplicaSet({ name: REPLICA_SET, members, root });
  await createUsers(build);
  fs.writeFileSync(marker, '');
}

function runMember(build: LabBuild, { name, site, host, port }: LabMember): Promise<boolean> {
  const base = storeFolder(build, site, name);
  const keyFile = path.join(base, 'keyfile');
  if (!fs.existsSync(keyFile)) serverFile(keyFile, build.secrets.password('mongodb-keyfile'));
  const command = mongodCommand({
    dataDir: storeFolder(build, site, `${name}/db`),
    host,
    port,
    replicaSet: REPLICA_SET,
    keyFile,
  });
  const spec: ProgramSpec = { ...command, name, site, kind: 'store', store: STORES.mongodb, restart: true };
  return runServer(build, spec, () => mongodReady({ host, port }));
}

async function createUsers(build: LabBuild): Promise<void> {
  const { application, backup } = MONGO_USERS;
  const client = await new MongoClient(mongoSetUrl(build, 'root'), { serverSelectionTimeoutMS: 20_000 }).connect();
  try {
    await createUser(client, application.name, build.secrets.password(application.secret), [
      { role: 'readWrite', db: DATABASE },
    ]);
    await createUser(client, backup.name, build.secrets.password(backup.secret), [
      { role: 'backup', db: 'admin' },
      { role: 'clusterAdmin', db: 'admin' }, // reconfiguration and step-down are how a set is promoted
      { role: 'readAnyDatabase', db: 'admin' },
      { role: 'read', db: 'local' }, // the oplog
      { role: 'readWrite', db: 'drctl' }, // heartbeat and epoch
    ]);
  } finally {
    await client.close();
  }
}

async function createUser(client: MongoClient, user: string, pwd: string, roles: object[]): Promise<void> {
  const admin = client.db('admin');
  const { users } = await admin.command({ usersInfo: user });
  if ((users as unknown[]).length > 0) return;
  await admin.command({ createUser: user, pwd, roles, writeConcern: { w: 'majority' } });
}

/** The connection string of the whole set, which every site uses. */
export function mongoSetUrl(build: LabBuild, who: keyof typeof MONGO_USERS): string {
  const { name, secret } = MONGO_USERS[who];
  const database = who === 'application' ? DATABASE : '';
  return mongoUrl(
    REPLICA_SET,
    labMembers(build.plan),
    { user: name, password: build.secrets.password(secret) },
    database,
  );
}
