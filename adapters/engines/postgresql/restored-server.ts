import { spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Client } from 'pg';
import { useAndEnd } from './connection';
import type { Owner, PlacePaths } from './restore-place';

/** A shutdown checkpoint of a restored server with full buffers; then it is told more firmly. */
const FAST_STOP_MILLISECONDS = 15_000;
const KILL_MILLISECONDS = 5_000;
const LOG_TAIL_BYTES = 64 * 1024;

/** The process of the server that runs in a data directory; null when none does. A stale pid file counts for nothing. */
export async function serverPid(paths: PlacePaths): Promise<number | null> {
  const text = await readIfThere(path.join(paths.data, 'postmaster.pid'));
  const pid = Number(text?.split('\n')[0]);
  if (!Number.isInteger(pid) || pid <= 0) return null;
  // The pid may belong to somebody else by now: the command line names the data directory.
  const commandLine = await readIfThere(`/proc/${pid}/cmdline`);
  return commandLine?.split('\0').includes(paths.data) ? pid : null;
}

/**
 * Starts the server in its own session, so that it outlives the worker; its output goes to `server.log`. Returns at once;
 * `exited` resolves with the reason if it ends while we look.
 */
export function startServer(
  program: string,
  paths: PlacePaths,
  owner: Owner,
  log: number,
): { exited: Promise<string> } {
  const asRoot = process.getuid?.() === 0;
  const child = spawn(program, ['-D', paths.data, '-c', `config_file=${paths.config}`], {
    cwd: paths.data,
    detached: true,
    stdio: ['ignore', log, log],
    env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
    ...(asRoot ? { uid: owner.uid, gid: owner.gid } : {}),
  });
  child.unref();
  const exited = new Promise<string>((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit status ${code}`));
  });
  return { exited };
}

/** Stops the server in order, then firmly. Repeatable; resolves when no process is left. */
export async function stopServer(paths: PlacePaths): Promise<void> {
  for (const [signal, patience] of [
    ['SIGINT', FAST_STOP_MILLISECONDS],
    ['SIGQUIT', KILL_MILLISECONDS],
    ['SIGKILL', KILL_MILLISECONDS],
  ] as const) {
    const pid = await serverPid(paths);
    if (pid === null) return;
    signalIfThere(pid, signal);
    const deadline = Date.now() + patience;
    while (Date.now() < deadline) {
      if ((await serverPid(paths)) === null && !(await isAlive(pid))) return;
      await sleep(50);
    }
  }
  throw new Error(`the server in ${paths.root} does not end`);
}

/** Runs `use` over the place's own socket. Errors of the driver come out as they are. */
export async function withRestored<T>(
  paths: PlacePaths,
  login: { readonly port: number; readonly user: string; readonly database: string },
  use: (client: Client) => Promise<T>,
  options: { readonly signal?: AbortSignal; readonly statementMilliseconds?: number } = {},
): Promise<T> {
  const { port, user, database } = login;
  const statementMilliseconds = options.statementMilliseconds ?? 15_000;
  const client = new Client({
    host: paths.socket,
    port,
    user,
    database,
    password: '',
    application_name: 'drctl',
    connectionTimeoutMillis: 5_000,
    query_timeout: statementMilliseconds,
  });
  return useAndEnd(client, use, options.signal);
}

/** The end of the server's own log. */
export async function logTail(paths: PlacePaths, from = 0): Promise<string> {
  const handle = await fs.open(paths.log, 'r').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null;
    throw error;
  });
  if (!handle) return '';
  try {
    const { size } = await handle.stat();
    const start = Math.max(from, size - LOG_TAIL_BYTES);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(Math.max(0, size - start)), 0, size - start, start);
    return buffer.toString('utf8', 0, bytesRead);
  } finally {
    await handle.close();
  }
}

async function isAlive(pid: number): Promise<boolean> {
  const stat = await readIfThere(`/proc/${pid}/stat`);
  return stat !== null && !/\) Z /.test(stat);
}

function signalIfThere(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

async function readIfThere(file: string): Promise<string | null> {
  try {
    return await fs.readFile(file, 'utf8');
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw error;
  }
}
