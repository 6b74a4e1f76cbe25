import * as net from 'node:net';
import * as tls from 'node:tls';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import { addressOf, isNativeError, type RedisEndpoint, redisFailure, tlsOptions } from './connection';
import { SocketReader } from './socket-reader';

/** A server says nothing while it waits for another save to end, but keeps the link alive with a newline a second. */
const IDLE_MILLISECONDS = 60_000;
const CONNECT_MILLISECONDS = 5_000;

/** A signed-in connection that speaks as a replica does. */
export interface ReplicaLink {
  readonly peer: string;
  readonly reader: SocketReader;
  /** Sends a command and answers the next line that is not empty. */
  ask(...words: string[]): Promise<string>;
  /** Sends a command that gets no answer. */
  tell(...words: string[]): void;
}

/** The connection ends with `use`, or when the caller's signal is aborted. */
export async function withReplicaLink<T>(
  endpoint: RedisEndpoint,
  ctx: CallContext,
  use: (link: ReplicaLink) => Promise<T>,
): Promise<T> {
  const peer = addressOf(endpoint);
  const socket = await connect(endpoint, ctx.signal);
  const abort = () => socket.destroy(new Error('aborted'));
  ctx.signal.addEventListener('abort', abort, { once: true });
  try {
    const reader = new SocketReader(socket, peer, IDLE_MILLISECONDS);
    const tell = (...words: string[]) => void socket.write(encode(words));
    const ask = async (...words: string[]) => {
      tell(...words);
      return reader.line();
    };
    const link = { peer, reader, ask, tell };
    await signIn(endpoint, link);
    return await use(link);
  } catch (error) {
    ctx.signal.throwIfAborted();
    throw redisFailure(error, peer);
  } finally {
    ctx.signal.removeEventListener('abort', abort);
    socket.destroy();
  }
}

async function signIn({ user, password }: RedisEndpoint, link: ReplicaLink): Promise<void> {
  if (!password) return;
  await requireOk(link, 'AUTH', ...(user === undefined ? [] : [user]), password.reveal());
}

/** Throws what a refusal means. */
export async function requireOk(link: ReplicaLink, ...words: string[]): Promise<void> {
  const answer = await link.ask(...words);
  if (answer !== '+OK') throw refusal(answer, link.peer);
}

/** The error for an answer that is not the one a replica gets. */
export function refusal(answer: string, peer: string): unknown {
  const said = answer.replace(/^-/, '').slice(0, 200);
  const known = redisFailure(new Error(said), peer);
  if (!isNativeError(known) || known.message !== said) return known;
  return failure('TargetUnreachable', `Redis at ${peer} refused a synchronisation: ${said}`, {
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
