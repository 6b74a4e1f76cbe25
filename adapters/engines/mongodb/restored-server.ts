import { execFile } from 'node:child_process';
import { chownSync, existsSync } from 'node:fs';
import { access, constants, mkdir, readFile, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { delimiter, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { failure } from '../../../core/errors';

/** Recovery after a crash replays the journal first, at most some hundred MB. */
const START_MILLISECONDS = 120_000;
/** A clean shutdown writes a checkpoint; what takes longer is killed, which the journal forgives. */
const STOP_MILLISECONDS = 60_000;

export interface ServerPlace {
  readonly directory: string;
  readonly host: string;
  readonly port: number;
  readonly osUser: string | null;
}

/**
 * `standalone` while data is loaded and replayed: no oplog of its own, so everything is written once. `set` when it is opened:
 * applications and change streams need a replica set, and a set of its own is a lineage of its own.
 */
export type ServerMode = { readonly kind: 'standalone' } | { readonly kind: 'set'; readonly name: string };

/** Starts `mongod` in the place unless it runs there; resolves when it accepts connections. It outlives this process. */
export async function startServer(
  place: ServerPlace,
  mode: ServerMode,
  toolsDirectory: string | undefined,
): Promise<void> {
  if ((await serverPid(place.directory)) !== null) return;
  const mongod = await findMongod(toolsDirectory);
  const owner = place.osUser === null ? null : await accountOf(place.osUser);
  for (const folder of [place.directory, join(place.directory, 'db')]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (owner) chownSync(folder, owner.uid, owner.gid);
  }
  const settings = mode.kind === 'standalone' ? ['ttlMonitorEnabled=false'] : [];
  const argv = [
    ...[
      '--fork',
      '--logpath',
      join(place.directory, 'mongod.log'),
      '--logappend',
      '--pidfilepath',
      pidFile(place.directory),
    ],
    ...['--dbpath', join(place.directory, 'db'), '--bind_ip', place.host, '--port', `${place.port}`, '--nounixsocket'],
    ...['--wiredTigerCacheSizeGB', '0.5'],
    ...[...settings, 'diagnosticDataCollectionEnabled=false'].flatMap((each) => ['--setParameter', each]),
    ...(mode.kind === 'set' ? ['--replSet', mode.name] : []),
  ];
  await new Promise<void>((resolve, reject) => {
    const options = {
      cwd: place.directory,
      timeout: START_MILLISECONDS,
      env: { PATH: process.env['PATH'] ?? '' },
      ...owner,
    };
    execFile(mongod, argv, options, (error, stdout) => {
      if (!error) return resolve();
      const words = stdout.trim().split('\n').slice(-3).join(' | ');
      reject(
        failure('TargetUnreachable', `mongod does not start in ${place.directory}: ${words || error.message}`, {
          next: `Look at ${join(place.directory, 'mongod.log')}; the step can then be tried again.`,
          cause: error,
        }),
      );
    });
  });
}

/** Stops the server of the place, if one runs; resolves when its process is gone. */
export async function stopServer(directory: string): Promise<void> {
  const pid = await serverPid(directory);
  if (pid === null) return;
  process.kill(pid, 'SIGTERM');
  const deadline = Date.now() + STOP_MILLISECONDS;
  for (let killed = false; (await serverPid(directory)) === pid; await delay(20)) {
    if (Date.now() > deadline && !killed) {
      process.kill(pid, 'SIGKILL');
      killed = true;
    }
  }
  await rm(pidFile(directory), { force: true });
}

/** The process that serves this directory, null when there is none. A pid file alone proves nothing: pids are used again. */
export async function serverPid(directory: string): Promise<number | null> {
  try {
    const pid = Number((await readFile(pidFile(directory), 'utf8')).trim());
    if (!Number.isInteger(pid) || pid <= 1) return null;
    const argv = (await readFile(`/proc/${pid}/cmdline`, 'utf8')).split('\0');
    return argv.includes(join(directory, 'db')) ? pid : null;
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return null;
    throw error;
  }
}

export async function freePort(host: string): Promise<number> {
  const server = createServer();
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, host, () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** The user's ids from /etc/passwd, where the accounts that run servers are. */
export async function accountOf(user: string): Promise<{ uid: number; gid: number }> {
  const lines = (await readFile('/etc/passwd', 'utf8')).split('\n').map((line) => line.split(':'));
  const [, , uid, gid] = lines.find(([name]) => name === user) ?? [];
  if (uid === undefined || gid === undefined) {
    throw failure('ConfigInvalid', `there is no user "${user}" on this machine to run the restored MongoDB server`);
  }
  return { uid: Number(uid), gid: Number(gid) };
}

async function findMongod(toolsDirectory: string | undefined): Promise<string> {
  const folders = toolsDirectory ? [toolsDirectory] : (process.env['PATH'] ?? '').split(delimiter);
  const found = folders.map((folder) => join(folder, 'mongod')).find((file) => existsSync(file));
  if (!found)
    throw failure('ToolMissing', `mongod is not in ${toolsDirectory ?? 'PATH'}: a restore of MongoDB needs it`);
  await access(found, constants.X_OK);
  return found;
}

function pidFile(directory: string): string {
  return join(directory, 'mongod.pid');
}
