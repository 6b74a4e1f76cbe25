import { request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import { pipeline } from 'node:stream/promises';
import type { ServiceName } from './service-names';
import type { Upstream } from './upstreams';

/** No replica took the connection: nothing of the request has left the gateway. */
export class UpstreamAway extends Error {
  override readonly name = 'UpstreamAway';
}

const CONNECT_TIMEOUT_MS = 1_000;
/** A service answers within 2.7 s, if only that a store is away. */
const REPLY_TIMEOUT_MS = 4_000;

/** Headers about one connection, which end at the gateway (RFC 9110 §7.6.1). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-authorization', 'proxy-connection', 'te', 'trailer', 'upgrade'];

let turn = 0;

/**
 * Sends a request to one replica and its reply back, both streamed. Rejects with UpstreamAway when no replica takes a
 * connection, and with another error when one broke off: the request may have been carried out, and is never sent twice.
 *
 * Every request has a connection of its own: one kept open could be closed by a dying service at the very moment that
 * an order is written to it, and nobody could tell whether it arrived. On loopback a connection costs 0.1 ms.
 */
export async function forward(
  upstreams: readonly Upstream[],
  service: ServiceName,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const socket = await connectToAny(upstreams, service);
  const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
  const outgoing = httpRequest({
    createConnection: () => socket,
    method: request.method,
    path: request.url,
    headers: { ...headers, connection: 'close' },
    timeout: REPLY_TIMEOUT_MS,
  });
  outgoing.on('timeout', () => outgoing.destroy(new Error(`${service} did not answer within ${REPLY_TIMEOUT_MS} ms`)));
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    outgoing.once('response', resolve);
    outgoing.once('error', reject);
    // A client that went away has no use for a reply; what it sent may still be carried out.
    response.once('close', () => outgoing.destroy());
  });
  const [reply] = await Promise.all([answered, pipeline(request, outgoing)]);
  for (const name of HOP_BY_HOP) delete reply.headers[name];
  response.writeHead(reply.statusCode ?? 502, reply.headers);
  await pipeline(reply, response);
}

/** Replicas take turns; one that does not take a connection is passed over, which repeats nothing. */
async function connectToAny(upstreams: readonly Upstream[], service: ServiceName): Promise<Socket> {
  if (upstreams.length === 0) throw new UpstreamAway(`no replica of ${service} runs at this site`);
  const first = turn++;
  let reason = '';
  for (let attempt = 0; attempt < upstreams.length; attempt++) {
    const upstream = upstreams[(first + attempt) % upstreams.length];
    if (!upstream) continue;
    try {
      return await connectTo(upstream);
    } catch (cause) {
      reason = cause instanceof Error ? cause.message : String(cause);
    }
  }
  throw new UpstreamAway(`no replica of ${service} takes connections: ${reason}`);
}

function connectTo({ host, port }: Upstream): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true });
    const timer = setTimeout(
      () => socket.destroy(new Error(`${host}:${port} took no connection within ${CONNECT_TIMEOUT_MS} ms`)),
      CONNECT_TIMEOUT_MS,
    );
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      resolve(socket);
    });
  });
}
