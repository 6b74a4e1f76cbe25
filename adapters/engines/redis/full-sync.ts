import * as net from 'node:net';
import * as tls from 'node:tls';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import { addressOf, isNativeError, type RedisEndpoint, redisFailure, tlsOptions } from './connection';
import { redisPosition, type RedisPosition } from './positions';
import { receiveRdb } from './rdb-stream';
import { SocketReader } from './socket-reader';

/** A server says nothing while it waits for another save to end, but keeps the link alive with a newline a second. */
const IDLE_MILLISECONDS = 60_000;
const CONNECT_MILLISECONDS = 5_000;

export interface FullSync {
  /** Where the replication stream continues behind this RDB. */
  readonly position: RedisPosition;
  readonly rdb: AsyncGenerator<Buffer, void, undefined>;
}

/**
 * Takes a full synchronisation as a replica would. `PSYNC ? -1` and not `SYNC`, because only it answers with the position;
 * `rdb-only 1`, so that the server keeps no stream of changes for us while the RDB is on its way (no output buffer to
 * overflow, however slow the repository). The connection ends with `use`.
 */
export async function withFullSync<T>(
  endpoint: RedisEndpoint,
  ctx: CallContext,
  use: (sync: FullSync) => Promise<T>,
): Promise<T> {
  const peer = addressOf(endpoint);
  const socket = await connect(endpoint, ctx.signal);
  const abort = () => socket.destroy(new Error('aborted'));
  ctx.signal.addEventListener('abort', abort, { once: true });
  try {
    const reader = new SocketReader(socket, peer, IDLE_MILLISECONDS);
    const ask = async (...words: string[]) => {
      socket.write(encode(words));
      return reader.line();
    };
    await signIn(endpoint, ask, peer);
    await requireOk(ask, peer, 'REPLCONF', 'capa', 'eof', 'capa', 'psync2');
    await requireOk(ask, peer, 'REPLCONF', 'rdb-only', '1');
    const answer = await ask('PSYNC', '?', '-1');
    const [, replicationId, offset] = /^\+FULLRESYNC ([0-9a-f]{40}) (\d+)$/.exec(answer) ?? [];
    if (!replicationId || !offset) throw refusal(answer, peer);
    return await use({ position: redisPosition(replicationId, offset), rdb: receiveRdb(reader, peer) });
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw redisFailure(error, peer);
  } finally {
    ctx.signal.removeEventListener('abort', abort);
    socket.destroy();
  }
}

type Ask = (...words: string[]) => Promise<string>;

async function signIn({ user, password }: RedisEndpoint, ask: Ask, peer: string): Promise<void> {
  if (!password) return;
  const answer = await ask('AUTH', ...(user === undefined ? [] : [user]), password.reveal());
  if (answer !== '+OK') throw refusal(answer, peer);
}

async function requireOk(ask: Ask, peer: string, ...words: string[]): Promise<void> {
  const answer = await ask(...words);
  if (answer !== '+OK') throw refusal(answer, peer);
}

function refusal(answer: string, peer: string): unknown {
  const said = answer.replace(/^-/, '').slice(0, 200);
  const known = redisFailure(new Error(said), peer);
  if (!isNativeError(known) || known.message !== said) return known;
  return failure('TargetUnreachable', `Redis at ${peer} refused a full synchronisation: ${said}`, {
    next: 'Backups need Redis 6.2 or newer, and a user that may run PSYNC and REPLCONF.',
  });
}

/** A RESP array of bulk strings: immune to what a password contains. */
function encode(words: readonly string[]): Buffer {
  const parts = words.map((word) => `$${Buffer.byteLength(word)}\r\n${word}\r\n`);
  return Buffer.from(`*${words.length}\r\n${parts.join('')}`);
}

function connect(endpoint: RedisEndpoint, signal: AbortSignal): Promise<net.Socket> {
  const { host, port } = endpoint;
  const peer = addressOf(endpoint);
  signal.throwIfAborted();
  return new Promise((resolve, reject) => {
    const socket = endpoint.tls ? tls.connect({ host, port, ...tlsOptions(endpoint) }) : net.connect({ host, port });
    const fail = (error: Error) => {
      socket.destroy();
      reject(redisFailure(error, peer));
    };
    const silence = setTimeout(() => fail(new Error('connecting timed out')), CONNECT_MILLISECONDS);
    socket.once('error', fail);
    socket.once(endpoint.tls ? 'secureConnect' : 'connect', () => {
      clearTimeout(silence);
      socket.off('error', fail);
      resolve(socket);
    });
    socket.once('close', () => clearTimeout(silence));
  });
}
