import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import { failure, hasCode } from '../../../core/errors';
import type { RestorePlace } from '../../../core/recovery';
import type { Secret } from '../../../core/secret';
import { absent } from '../../filesystem/absent';
import { type Account, accountOf, freePort } from '../restore-host';
import { RestoredServer } from '../restored-server';
import { addressOf, withRedis } from './connection';
import { readInfo } from './info';

const CONFIG_FILE = 'redis.conf';
const PID_FILE = 'redis.pid';
export const RESTORED_ACL_FILE = 'users.acl';

/** A server loads about 1 GB in 5 s; this is for half a terabyte, and it is not silent: progress says how far it is. */
const LOADING_DEADLINE_MILLISECONDS = 60 * 60_000;
export interface RestoredServerOptions {
  readonly place: RestorePlace;
  readonly program: string;
  readonly password: Secret | undefined;
  /** Captured from the source: what must be the same for the same data to fit. */
  readonly settings: Readonly<Record<string, string>>;
  readonly hasAclFile: boolean;
  /** An append-only directory is what it has to load; else the RDB. */
  readonly appendOnly: boolean;
}

/** Writes configuration and users, readable by the server alone, and starts it; resolves when all data are loaded. */
export async function startRestoredServer(options: RestoredServerOptions, ctx: CallContext): Promise<number> {
  const { place, program, password } = options;
  const port = await freePort(place.host, place.port);
  const account = await accountOf(place.osUser);
  await writeConfig(options, port);
  if (account) await giveAway(place.directory, account);
  const endpoint = { host: place.host, port, password };
  const server = await serverOf(place.directory);
  const from = await server.logBytes();
  let refusal: unknown;
  await server.launch<void>(
    { program, argv: [path.join(place.directory, CONFIG_FILE)], account },
    {
      async look() {
        try {
          const info = await withRedis(endpoint, ctx, (client) => readInfo(client, 'persistence'));
          if (info.get('loading') === '0') return { ready: undefined };
          ctx.progress({ phase: 'loading', doneBytes: Number(info.get('loading_loaded_bytes') ?? 0) });
        } catch (error) {
          // Not listening yet; anything else than that will not go away by itself.
          if (!hasCode(error, 'TargetUnreachable')) throw error;
          refusal = error;
          ctx.progress({ phase: 'starting the server' });
        }
        return { waiting: '' };
      },
      patienceMilliseconds: LOADING_DEADLINE_MILLISECONDS,
      async ended(reason) {
        const said = await server.lastWords(from);
        throw failure('ToolMissing', `${program} did not start from ${place.directory} (${reason}): ${said}`, {
          data: 'The backup is not affected; nothing was opened.',
          next: "Use a server of the backup's version or newer, and see redis.log in the restore directory.",
        });
      },
      stuck: () =>
        failure('TargetUnreachable', `${addressOf(endpoint)} has not loaded its data yet`, { cause: refusal }),
    },
    ctx,
  );
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
export async function runningServer(directory: string): Promise<{ port: number } | null> {
  const address = await addressIn(directory);
  return address && (await (await serverOf(directory)).pid()) !== null ? { port: address.port } : null;
}

/**
 * The server of a place. It ends by SIGKILL, because all that it would save is removed next, and SIGTERM is dropped while
 * the first append-only file is written or when the save fails.
 */
export async function serverOf(directory: string): Promise<RestoredServer> {
  const address = await addressIn(directory);
  return new RestoredServer({
    workingDirectory: directory,
    // Until it replaces its command line by its name and address, the file of its configuration stands there.
    recognises: (words) =>
      words.includes(path.join(directory, CONFIG_FILE)) ||
      (address !== null && words.some((word) => word.trim().endsWith(` ${address.host}:${address.port}`))),
    pidFile: path.join(directory, PID_FILE),
    logFile: path.join(directory, 'redis.log'),
    // A killed process is gone at once, unless the kernel waits for its disk.
    stopSignals: [['SIGKILL', 20_000]],
    stopsGroup: true,
  });
}

/** Where the server of a place listens, by its configuration; null where there is none. */
async function addressIn(directory: string): Promise<{ host: string; port: number } | null> {
  const text = (await fs.readFile(path.join(directory, CONFIG_FILE), 'utf8').catch(absent)) ?? '';
  const [, host] = /^bind (\S+)$/m.exec(text) ?? [];
  const [, port] = /^port (\d+)$/m.exec(text) ?? [];
  return host === undefined || port === undefined ? null : { host, port: Number(port) };
}

async function writeConfig(
  { place, password, settings, hasAclFile, appendOnly }: RestoredServerOptions,
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
    // With it on and no such directory, a server starts empty beside a full RDB.
    ['appendonly', appendOnly ? 'yes' : 'no'],
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

async function giveAway(directory: string, { uid, gid }: Account): Promise<void> {
  for (const name of ['', ...(await fs.readdir(directory, { recursive: true }))])
    await fs.lchown(path.join(directory, name), uid, gid);
}
