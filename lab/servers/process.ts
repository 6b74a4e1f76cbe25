import { type ChildProcess, execFile, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** How one server is started. Secrets come by files or `env`, never by `argv`. */
export interface ServerCommand {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** PostgreSQL refuses root: when we are root, such a server runs as `nobody`. */
  readonly unprivileged?: boolean;
}

/** `nobody` on Debian and Red Hat alike. */
const NOBODY = 65534;
export const isRoot = process.getuid?.() === 0;

/** Starts a server whose output goes to `logFile`. It dies with this process, however this process dies. */
export function spawnServer(command: ServerCommand, logFile: string): ChildProcess {
  const log = fs.openSync(logFile, 'a', 0o640);
  try {
    const [program, ...args] = [...parentBound(command.unprivileged ?? false), ...command.argv];
    return spawn(program as string, args, {
      cwd: command.cwd,
      env: environment(command),
      stdio: ['ignore', log, log],
      detached: true, // a Ctrl-C on the terminal is for us; we stop the servers in our own order
    });
  } finally {
    fs.closeSync(log);
  }
}

/** Runs a program to its end and returns what it printed; rejects with its last words when it fails. */
export async function runToEnd(command: ServerCommand, { deadlineMs = 120_000 } = {}): Promise<string> {
  const [program, ...args] = [...parentBound(command.unprivileged ?? false), ...command.argv];
  const options = { cwd: command.cwd, env: environment(command), timeout: deadlineMs, maxBuffer: 16 * 1024 * 1024 };
  return new Promise((resolve, reject) => {
    execFile(program as string, args, options, (error, stdout, stderr) => {
      if (!error) return resolve(stdout);
      const words = stderr.trim().split('\n').slice(-4).join(' | ') || error.message;
      reject(new Error(`${command.argv[0]} failed: ${words}`, { cause: error }));
    });
  });
}

/** setpriv sets the parent-death signal after it changed the user, which the kernel would otherwise clear it on. */
function parentBound(unprivileged: boolean): string[] {
  const user = unprivileged && isRoot ? ['--reuid', `${NOBODY}`, '--regid', `${NOBODY}`, '--clear-groups'] : [];
  return ['setpriv', '--pdeathsig', 'KILL', ...user, '--'];
}

function environment(command: ServerCommand): Record<string, string> {
  const { PATH = '/usr/bin:/bin', TZ, NODE_COMPILE_CACHE } = process.env;
  const passedOn = { ...(TZ ? { TZ } : {}), ...(NODE_COMPILE_CACHE ? { NODE_COMPILE_CACHE } : {}) };
  return { PATH, HOME: command.cwd, LC_ALL: 'C.UTF-8', ...passedOn, ...command.env };
}

/** Makes a folder that a server running as `nobody` owns; a repeat changes nothing. */
export function serverFolder(folder: string): string {
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (isRoot) fs.chownSync(folder, NOBODY, NOBODY);
  return folder;
}

/** Gives everything under `folder` to the servers' user, for example after a restore as root. */
export async function giveToServers(folder: string): Promise<void> {
  if (!isRoot) return;
  await runToEnd({ argv: ['chown', '-R', `${NOBODY}:${NOBODY}`, folder], cwd: '/' });
}

/** Writes a file that only the servers' user may read (configuration with passwords, key files). */
export function serverFile(file: string, content: string): string {
  fs.rmSync(file, { force: true });
  fs.writeFileSync(file, content, { mode: 0o600, flag: 'wx' });
  if (isRoot) fs.chownSync(file, NOBODY, NOBODY);
  return file;
}

/** Waits until `check` resolves to true; rejects after `deadlineMs` with the last error it threw. */
export async function waitUntil(
  what: string,
  check: () => Promise<boolean>,
  { deadlineMs = 30_000, intervalMs = 50 }: { deadlineMs?: number; intervalMs?: number } = {},
): Promise<void> {
  const deadline = Date.now() + deadlineMs;
  let last: unknown;
  for (;;) {
    try {
      if (await check()) return;
    } catch (error) {
      last = error;
    }
    if (Date.now() > deadline) {
      const reason = last instanceof Error ? `: ${last.message}` : '';
      throw new Error(`${what} did not come about within ${deadlineMs / 1000} s${reason}`, { cause: last });
    }
    await delay(intervalMs);
  }
}

/** True when `url` answers with a status below 500. */
export async function answers(url: string): Promise<boolean> {
  const response = await fetch(url, { signal: AbortSignal.timeout(1000) });
  await response.body?.cancel();
  return response.status < 500;
}
