import { request as httpRequest } from 'node:http';
import { text } from 'node:stream/consumers';
import type { OrderContent } from '../shop/orders';

export type Placement =
  | { placed: true; status: number; committedAt: string; site: string }
  | { placed: false; error: string; ambiguous: boolean };

/** Longer than the gateway waits for a service (4 s), so that its reason arrives. */
const REPLY_TIMEOUT_MS = 5_000;

/**
 * Sends an order once, on a connection of its own, and tells what is known afterwards. Never rejects. It is unambiguous that
 * an order was not placed when no connection came about, when it was refused (4xx), or when the gateway says that it
 * sent nothing on; everything else that is no acknowledgement leaves it open.
 */
export function placeOrder(host: string, port: number, name: string, order: OrderContent): Promise<Placement> {
  const body = Buffer.from(JSON.stringify(order));
  return new Promise((resolve) => {
    let connected = false;
    const request = httpRequest({
      host,
      port,
      method: 'POST',
      path: '/v2/orders',
      // The connection is not reused: a kept one may break at the moment it is written to, and an outage would look ambiguous.
      agent: false,
      headers: { host: name, 'content-type': 'application/json', 'content-length': body.length },
      signal: AbortSignal.timeout(REPLY_TIMEOUT_MS),
    });
    request.once('socket', (socket) => socket.once('connect', () => (connected = true)));
    request.once('error', (error) => resolve({ placed: false, error: describe(error), ambiguous: connected }));
    request.once('response', (response) => {
      text(response).then(
        (reply) => resolve(interpret(response.statusCode ?? 0, reply, order)),
        (error: Error) => resolve({ placed: false, error: describe(error), ambiguous: true }),
      );
    });
    request.end(body);
  });
}

function interpret(status: number, reply: string, order: OrderContent): Placement {
  let body: { id?: unknown; committedAt?: unknown; site?: unknown; error?: { code?: string; message?: string } };
  try {
    body = JSON.parse(reply) as typeof body;
  } catch {
    return { placed: false, error: `${status} without JSON`, ambiguous: true };
  }
  const { id, committedAt, site } = body;
  if (status === 200 || status === 201) {
    if (id !== order.id || typeof committedAt !== 'string' || typeof site !== 'string') {
      return { placed: false, error: `${status} that does not acknowledge this order`, ambiguous: true };
    }
    return { placed: true, status, committedAt, site };
  }
  const refused = (status >= 400 && status < 500) || body.error?.code === 'not-sent';
  const error = `${status} ${body.error?.code ?? ''}: ${body.error?.message ?? ''}`;
  return { placed: false, error, ambiguous: !refused };
}

function describe(error: Error): string {
  if (error.name === 'AbortError' || error.name === 'TimeoutError') return `no reply within ${REPLY_TIMEOUT_MS} ms`;
  return (error as NodeJS.ErrnoException).code ?? error.message;
}
