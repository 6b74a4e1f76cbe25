import { readFileSync } from 'node:fs';
import { types } from 'node:util';
import Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import { failure, findFailure } from '../../../core/errors';
import type { Secret } from '../../../core/secret';
import { answerWithin, LOOK_MILLISECONDS } from '../answer-within';
import type { RedisSite } from './settings';

/** One server and how to sign in there. */
export interface RedisEndpoint {
  readonly host: string;
  readonly port: number;
  readonly user?: string | undefined;
  readonly password?: Secret | undefined;
  readonly tls?: RedisSite['tls'];
}

/** `instanceof` fails for errors of another realm, as those of the network are inside a test runner. */
export const { isNativeError } = types;

/** Long enough for a loaded server's slowest single command, short enough for a failover's RTO. */
const COMMAND_TIMEOUT_MILLISECONDS = 10_000;
const CONNECT_TIMEOUT_MILLISECONDS = 3_000;

export const addressOf = ({ host, port }: { readonly host: string; readonly port: number }) => `${host}:${port}`;

/**
 * Runs `use` on a connection of its own and closes it. Nothing is retried here: Temporal repeats the step. Errors come
 * out as TargetUnreachable or AccessDenied with the address; what the server said to a command of `use` stays as it is.
 */
export async function withRedis<T>(
  endpoint: RedisEndpoint,
  ctx: CallContext,
  use: (client: Redis) => Promise<T>,
  options: { readonly database?: number; readonly commandTimeoutMilliseconds?: number } = {},
): Promise<T> {
  ctx.signal.throwIfAborted();
  const client = new Redis({
    host: endpoint.host,
    port: endpoint.port,
    ...(endpoint.user === undefined ? {} : { username: endpoint.user }),
    ...(endpoint.password ? { password: endpoint.password.reveal() } : {}),
    ...(endpoint.tls ? { tls: tlsOptions(endpoint) } : {}),
    db: options.database ?? 0,
    protocol: 2, // the same reply shapes from Redis 6 to 8 and Valkey
    lazyConnect: true,
    connectTimeout: CONNECT_TIMEOUT_MILLISECONDS,
    commandTimeout: options.commandTimeoutMilliseconds ?? COMMAND_TIMEOUT_MILLISECONDS,
    retryStrategy: () => null,
    maxRetriesPerRequest: 0,
    enableReadyCheck: false, // a server that loads its data still answers INFO, and we want to hear it
    disableClientInfo: true,
  });
  let connectionError: unknown = null;
  client.on('error', (error) => (connectionError = error)); // the failed command rejects with a vaguer one
  const abort = () => client.disconnect();
  ctx.signal.addEventListener('abort', abort, { once: true });
  try {
    await client.connect();
    return await use(client);
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw redisFailure(isConnectionLoss(error) ? (connectionError ?? error) : error, addressOf(endpoint));
  } finally {
    ctx.signal.removeEventListener('abort', abort);
    client.disconnect();
  }
}

/** A short look at a server that may be silent: it answers, or it is TargetUnreachable in a few seconds. */
export function lookAtRedis<T>(
  endpoint: RedisEndpoint,
  ctx: CallContext,
  use: (client: Redis) => Promise<T>,
  milliseconds = LOOK_MILLISECONDS,
): Promise<T> {
  const where = `Redis at ${addressOf(endpoint)}`;
  return answerWithin(ctx.signal, milliseconds, where, (signal) => withRedis(endpoint, { ...ctx, signal }, use));
}

export function tlsOptions({ host, tls }: Pick<RedisEndpoint, 'host' | 'tls'>) {
  return {
    servername: tls?.serverName ?? host,
    ...(tls?.caFile ? { ca: readFileSync(tls.caFile) } : {}),
  };
}

const isConnectionLoss = (error: unknown) =>
  isNativeError(error) && /Connection is closed|max retries per request|Socket closed/i.test(error.message);

/** Null where the server refuses the command: a right that our account lacks, a name that it does not know. */
export async function unlessRefused<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (isNativeError(error) && error.name === 'ReplyError') return null;
    throw error;
  }
}

/** The error that a person is shown for what Redis or the network said; unknown ones keep their words. */
export function redisFailure(thrown: unknown, address: string): unknown {
  if (!isNativeError(thrown) || findFailure(thrown)) return thrown;
  const error = withoutCommand(thrown);
  const said = error.message;
  if (/^-?(WRONGPASS|NOAUTH|NOPERM)/.test(said) || /invalid username-password|without any password/i.test(said)) {
    return failure('AccessDenied', `Redis at ${address} refused the user: ${said}`, { cause: error });
  }
  const code = (thrown as NodeJS.ErrnoException).code;
  const unreachable =
    /^-?(LOADING|MASTERDOWN|BUSY|NOMASTERLINK)/.test(said) ||
    isConnectionLoss(error) ||
    /timed out|ETIMEDOUT/i.test(said);
  if (unreachable || (code !== undefined && /^(E[A-Z]+|CERT_|ERR_TLS|DEPTH_|SELF_SIGNED|UNABLE_)/.test(code))) {
    return failure('TargetUnreachable', `Redis at ${address}: ${said || code}`, { cause: error });
  }
  return error;
}

/** ioredis hangs the command with its arguments on an error: for AUTH that is the password, for SET the data. */
function withoutCommand(error: Error): Error {
  if (!('command' in error)) return error;
  const bare = new Error(error.message);
  bare.name = error.name;
  return bare;
}
