import { execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { CallContext } from '../../../core/call';
import { failure, hasCode } from '../../../core/errors';
import type { RestorePlace } from '../../../core/recovery';
import type { Secret } from '../../../core/secret';
import { addressOf, withRedis } from './connection';
import { readInfo } from './info';

const CONFIG_FILE = 'redis.conf';
const PID_FILE = 'redis.pid';
const LOG_FILE = 'redis.log';
export const RESTORED_ACL_FILE = 'users.acl';

/** A server loads about 1 GB in 5 s; this is for half a terabyte, and it is not silent: progress says how far it is. */
const LOADING_DEADLINE_MILLISECONDS = 60 * 60_000;
/** A killed process is gone at once, unless the kernel waits for its disk. */
const STOP_DEADLINE_MILLISECONDS = 20_000;

export interface RestoredServerOptions {
  readonly place: RestorePlace;
  readonly program: string;
  readonly password: Secret | undefined;
  /** Captured from the source: what must be the same for the same data to fit. */
  readonly settings: Readonly<Record<string, string>>;
  readonly hasAclFile: boolean;
}

/** Writes configuration and users, readable by the server alone, and starts it; resolves when all data are loaded. */
export async function startRestoredServer(options: RestoredServerOptions, ctx: CallContext): Promise<number> {
  const { place, program, password } = options;
  const port = place.port === 0 ? await freePort(place.host) : place.port;
  const owner = place.osUser === null ? null : await userIds(place.osUser);
  await writeConfig(options, port);
  if (owner) await giveAway(place.directory, owner);
  const log = await fs.open(path.join(place.directory, LOG_FILE), 'a', 0o640);
  if (owner) await log.chown(owner.uid, owner.gid);
  const child = spawn(program, [path.join(place.directory, CONFIG_FILE)], {
    cwd: place.directory,
    detached: true, // it outlives the worker
    stdio: ['ignore', log.fd, log.fd],
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C' },
    ...(owner ?? {}),
  });
  let ended: string | null = null;
  child.once('error', (error) => (ended = error.message));
  child.once('exit', (code, signal) => (ended = `it ended with ${signal ?? code}`));
  child.unref();
  await log.close();
  try {
    await waitUntilLoaded({ host: place.host, port, password }, () => ended, ctx);
  } catch (error) {
    // Whatever went wrong, no server stays behind that nobody knows of.
    child.kill('SIGKILL');
    if (!hasCode(error, 'ToolMissing')) throw error;
    throw failure(
      'ToolMissing',
      `${program} did not start from ${place.directory}: ${await lastWords(place.directory)}`,
      {
        data: 'The backup is not affected; nothing was opened.',
        next: "Use a server of the backup's version or newer, and see redis.log in the restore directory.",
        cause: error,
      },
    );
  }
  return port;
}

/**
 * Turns the append-only file on in the running server, and in its configuration once the first one is complete: a start
 * with it on and none there begins with an empty store. Our own edit and not CONFIG REWRITE, which makes the file readable
 * for everybody (config.c `rewriteConfigOverwriteFile`).
 */
export async function switchAppendOnlyOn(
  place: RestorePlace,
  endpoint: { host: string; port: number; password: Secret | undefined },
  ctx: CallContext,
): Promise<void> {
  await withRedis(endpoint, ctx, (client) => client.config('SET', 'appendonly', 'yes'));
  const deadline = Date.now() + LOADING_DEADLINE_MILLISECONDS;
  for (;;) {
    const info = await withRedis(endpoint, ctx, (client) => readInfo(client, 'persistence'));
    const busy = info.get('aof_rewrite_in_progress') !== '0' || info.get('aof_rewrite_scheduled') !== '0';
    if (!busy && info.get('aof_last_bgrewrite_status') === 'ok') break;
    if (Date.now() > deadline)
      throw failure('TargetUnreachable', `${addressOf(endpoint)} does not finish its append-only file`);
    ctx.progress({ phase: 'writing the append-only file' });
    await delay(50, undefined, { signal: ctx.signal });
  }
  const file = path.join(place.directory, CONFIG_FILE);
  const { uid, gid } = await fs.stat(file);
  await writePrivately(file, (await fs.readFile(file, 'utf8')).replace('appendonly no', 'appendonly yes'));
  await fs.chown(file, uid, gid);
}

/** Null when no server of this place runs. */
export async function runningServer(directory: string): Promise<{ pid: number; port: number } | null> {
  const pid = Number(await readOptional(path.join(directory, PID_FILE)));
  if (!Number.isInteger(pid) || pid <= 0) return null;
  // A pid may have been given to another process since: only one that runs from this directory is ours.
  const cwd = await fs.readlink(`/proc/${pid}/cwd`).catch(() => null);
  if (cwd !== (await fs.realpath(directory))) return null;
  const port = /^port (\d+)$/m.exec(await readOptional(path.join(directory, CONFIG_FILE)))?.[1];
  return port === undefined ? null : { pid, port: Number(port) };
}

/**
 * Ends the server of the place and sees it gone; fine when none runs. By SIGKILL, because all that it would save is removed
 * next, and SIGTERM is dropped while the first append-only file is written or when the save fails. The whole process
 * group: a fork that saves would go on writing into the place.
 */
export async function stopRestoredServer(directory: string): Promise<void> {
  const deadline = Date.now() + STOP_DEADLINE_MILLISECONDS;
  for (let server = await runningServer(directory); server; server = await runningServer(directory)) {
    killGroup(server.pid);
    if (Date.now() > deadline) throw failure('LockHeld', `the server ${server.pid} in ${directory} does not end`);
    await delay(50);
  }
}

function killGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // gone between the look and the signal
  }
}

async function writeConfig(
  { place, password, settings, hasAclFile }: RestoredServerOptions,
  port: number,
): Promise<void> {
  const { save, appendonly: _, ...kept } = settings;
  const lines = [
    ['bind', place.host],
    ['port', `${port}`],
    ['dir', place.directory],
    ['dbfilename', 'dump.rdb'],
    ['pidfile', path.join(place.directory, PID_FILE)],
    ['daemonize', 'no'],
    // With it on, a server looks for an append-only directory and starts empty beside a full RDB.
    ['appendonly', 'no'],
    ['protected-mode', 'yes'],
    ...Object.entries(kept),
    ...(hasAclFile
      ? [['aclfile', path.join(place.directory, RESTORED_ACL_FILE)]]
      : password
        ? [['requirepass', password.reveal()]]
        : []),
  ];
  const text = lines.map(([name, value]) => `${name} ${quoted(value ?? '')}`);
  text.push(save ? `save ${save}` : 'save ""');
  await writePrivately(path.join(place.directory, CONFIG_FILE), `${text.join('\n')}\n`);
}

/**
 * The captured users with the default user replaced: we sign in as it, with the password of the restore, and the source's
 * may be switched off.
 */
export function aclFileFor(captured: string, password: Secret | undefined): string {
  const secret = password ? `#${createHash('sha256').update(password.reveal()).digest('hex')}` : 'nopass';
  const others = captured.split('\n').filter((line) => line.startsWith('user ') && !line.startsWith('user default '));
  return `${[`user default on ${secret} ~* &* +@all`, ...others].join('\n')}\n`;
}

/** A file that nobody else could read, not even between creation and chmod. */
export async function writePrivately(file: string, text: string): Promise<void> {
  await fs.rm(file, { force: true });
  await fs.writeFile(file, text, { mode: 0o600, flag: 'wx' });
}

/** redis.conf reads double quotes with C escapes (sds.c `sdssplitargs`). */
function quoted(value: string): string {
  if (/^[\w./:@%+-]+$/.test(value)) return value;
  return `"${value.replace(/[\\"]/g, '\\$&').replaceAll('\n', '\\n')}"`;
}

async function waitUntilLoaded(
  endpoint: { host: string; port: number; password: Secret | undefined },
  ended: () => string | null,
  ctx: CallContext,
): Promise<void> {
  const deadline = Date.now() + LOADING_DEADLINE_MILLISECONDS;
  for (;;) {
    ctx.signal.throwIfAborted();
    const reason = ended();
    if (reason !== null) throw failure('ToolMissing', reason);
    try {
      const info = await withRedis(endpoint, ctx, (client) => readInfo(client, 'persistence'));
      if (info.get('loading') === '0') return;
      ctx.progress({ phase: 'loading', doneBytes: Number(info.get('loading_loaded_bytes') ?? 0) });
    } catch (error) {
      // Not listening yet; anything else than that will not go away by itself.
      if (!hasCode(error, 'TargetUnreachable') || Date.now() > deadline) throw error;
      ctx.progress({ phase: 'starting the server' });
    }
    if (Date.now() > deadline) throw failure('TargetUnreachable', `${endpoint.host}:${endpoint.port} is still loading`);
    await delay(50, undefined, { signal: ctx.signal });
  }
}

/** Between closing and the server's bind another process may take it; the start then fails by name and is repeated. */
function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = net.createServer();
    probe.once('error', reject);
    probe.listen(0, host, () => {
      const { port } = probe.address() as net.AddressInfo;
      probe.close(() => resolve(port));
    });
  });
}

async function userIds(name: string): Promise<{ uid: number; gid: number }> {
  const id = async (flag: string) => Number((await promisify(execFile)('id', [flag, name])).stdout);
  try {
    return { uid: await id('-u'), gid: await id('-g') };
  } catch (error) {
    throw failure('ConfigInvalid', `there is no operating system user "${name}" on this host`, { cause: error });
  }
}

async function giveAway(directory: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  for (const name of ['', ...(await fs.readdir(directory))]) await fs.lchown(path.join(directory, name), uid, gid);
}

async function lastWords(directory: string): Promise<string> {
  const log = await readOptional(path.join(directory, LOG_FILE));
  return log.trim().split('\n').slice(-3).join(' | ').slice(-600);
}

async function readOptional(file: string): Promise<string> {
  return fs.readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return '';
    throw error;
  });
}
