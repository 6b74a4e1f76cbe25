import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { isRoot, runToEnd } from '../../lab/servers/process';
import type { Cluster, Login } from './cluster';

/** Short beside what a restore takes, and no load. */
const LOOK_MILLISECONDS = 50;

/** What a restored copy of a cluster is asked with: roles and passwords come along. */
export function loginAt(cluster: Cluster, port: number): Login {
  return { host: cluster.host, port, user: 'postgres', password: cluster.password, database: 'postgres' };
}

/** The moment (performance.now) at which a restored server answers a query and is in recovery no more. */
export async function whenWritable(login: Login, signal: AbortSignal): Promise<number> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const open = await inPostgres(login, async (client) => {
        const { rows } = await client.query(
          'SELECT NOT pg_is_in_recovery() AS open, (SELECT count(*) FROM pgbench_branches) AS branches',
        );
        return (rows[0] as { open: boolean }).open;
      });
      if (open) return performance.now();
    } catch {
      // It does not run yet, or does not take connections yet.
    }
    await delay(LOOK_MILLISECONDS, undefined, { signal });
  }
}

/** Stops the server that drctl left in the folder, which outlives its worker on purpose, and removes everything. */
export async function removeRestored(folder: string, cluster: Cluster): Promise<void> {
  if (!fs.existsSync(folder)) return;
  const files = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const pidFile of files.filter((file) => path.basename(file) === 'postmaster.pid')) {
    const dataDir = path.join(folder, path.dirname(pidFile));
    const argv = [cluster.program('pg_ctl'), 'stop', '-D', dataDir, '-m', 'immediate'];
    await runToEnd({ argv, cwd: '/', unprivileged: isRoot });
  }
  fs.rmSync(folder, { recursive: true, force: true });
}
