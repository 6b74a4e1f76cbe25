import * as fs from 'node:fs';
import * as path from 'node:path';
import { runToEnd, serverFile } from '../servers/process';
import { Refusal } from './refusal';

/** What an agent has to know of a cluster at its host to say where it ended, and to start it as a standby. */
export interface PostgresqlCluster {
  readonly dataDir: string;
  /** The program `pg_controldata` of the cluster's version. */
  readonly controldata: string;
}

export interface ClusterEnd {
  /** `<system id>/<timeline>`. */
  readonly lineage: string;
  /** The LSN of the shutdown checkpoint. */
  readonly value: string;
}

export interface StoreEnd extends ClusterEnd {
  readonly store: string;
}

interface StoreServer {
  readonly name: string;
  readonly store?: string;
  readonly postgresql?: PostgresqlCluster;
}

/** Of the servers that were shut down cleanly, and are of a kind that says where. */
export async function endsOf(servers: readonly StoreServer[]): Promise<StoreEnd[]> {
  const ends = servers.map(async ({ store, postgresql }) => {
    const end = store && postgresql ? await endOf(postgresql) : null;
    return store && end ? [{ store, ...end }] : [];
  });
  return (await Promise.all(ends)).flat();
}

/** Their next start is one as standbys; refuses where one of them was not shut down cleanly. */
export async function makeStandbys(servers: readonly StoreServer[]): Promise<void> {
  const refused = 'was not shut down cleanly, or is of a kind that this agent cannot make a standby';
  for (const { name, postgresql } of servers) {
    if (!postgresql || (await endOf(postgresql)) === null) throw new Refusal(422, `${name} ${refused}`);
  }
  for (const { postgresql } of servers) if (postgresql) makeStandby(postgresql);
}

/** Null for one that runs, or that was killed: such a cluster ended nowhere in particular. */
export async function endOf({ dataDir, controldata }: PostgresqlCluster): Promise<ClusterEnd | null> {
  const argv = [controldata, '-D', dataDir];
  // Its words are those of the locale C, which `runToEnd` sets.
  const output = await runToEnd({ argv, cwd: dataDir, unprivileged: true });
  const lines = new Map(
    output.split('\n').map((line) => [line.split(':')[0] ?? '', line.split(':').slice(1).join(':').trim()]),
  );
  const read = (name: string) => {
    const value = lines.get(name);
    if (!value) throw new Error(`pg_controldata says nothing of "${name}"`);
    return value;
  };
  const state = read('Database cluster state');
  if (state !== 'shut down' && state !== 'shut down in recovery') return null;
  const timeline = read("Latest checkpoint's TimeLineID");
  return { lineage: `${read('Database system identifier')}/${timeline}`, value: read('Latest checkpoint location') };
}

/** Its next start is one as a standby, of the primary that its `primary_conninfo` names. */
export function makeStandby({ dataDir }: Pick<PostgresqlCluster, 'dataDir'>): void {
  const file = path.join(dataDir, 'standby.signal');
  if (!fs.existsSync(file)) serverFile(file, '');
}
