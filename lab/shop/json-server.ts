import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { Server as NetServer } from 'node:net';

export interface JsonRequest {
  /** The values of the `:name` segments of the route's path. */
  params: Record<string, string>;
  query: URLSearchParams;
  headers: IncomingMessage['headers'];
  /** The parsed JSON body; `undefined` where there was none. */
  body: unknown;
}

export interface JsonReply {
  status: number;
  body: unknown;
}

export interface Route {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  path: string;
  handle(request: JsonRequest): Promise<JsonReply>;
}

/** An answer other than success that the caller is told about: a bad request, something absent, a store that is away. */
export class Refusal extends Error {
  override readonly name = 'Refusal';
  readonly status: number;
  readonly code: string;
  readonly details: object;

  constructor(status: number, code: string, message: string, details: object = {}) {
    super(message);
    this.status = status;
    this.code = code;
    this.details = details;
  }
}

export interface JsonServerOptions {
  routes: Route[];
  headers: Record<string, string>;
  /** How long a handler may take before the caller is answered 503. */
  deadlineMs: number;
  log(event: string, fields?: object): void;
}

/** Orders and profiles are small; a larger body is a mistake, and memory is not for it. */
const LARGEST_BODY_BYTES = 256 * 1024;

/** After this long a connection without a request has none on its way: it is kept open for a later one. */
const UNREAD_MS = 150;

export function createJsonServer(options: JsonServerOptions): Server {
  const server = createServer((request, response) => {
    void answer(options, request).then((reply) => send(response, reply, options.headers));
  });
  // The gateway opens a connection a request, so an idle one is nobody's: short, to let a stopping service go at once.
  server.keepAliveTimeout = 5_000;
  return server;
}

/**
 * Takes no more connections, finishes the requests of those it has, for at most `drainMs`, and resolves when all are closed.
 *
 * `http.Server.close` would at once cut connections whose request was not read yet, and leave an order in doubt for nothing.
 */
export async function drain(server: Server, drainMs: number): Promise<void> {
  const closed = once(server, 'close');
  NetServer.prototype.close.call(server);
  const idle = setTimeout(() => server.closeIdleConnections(), Math.min(UNREAD_MS, drainMs));
  const late = setTimeout(() => server.closeAllConnections(), drainMs);
  await closed;
  clearTimeout(idle);
  clearTimeout(late);
}

async function answer(options: JsonServerOptions, request: IncomingMessage): Promise<JsonReply> {
  try {
    const url = new URL(request.url ?? '/', 'http://shop');
    const { route, params } = matchRoute(options.routes, request.method ?? 'GET', url.pathname);
    const body = await readJson(request);
    return await withDeadline(
      route.handle({ params, query: url.searchParams, headers: request.headers, body }),
      options.deadlineMs,
    );
  } catch (cause) {
    if (cause instanceof Refusal) {
      if (cause.status >= 500) options.log('refused', { path: request.url, code: cause.code, reason: cause.message });
      return { status: cause.status, body: { error: { code: cause.code, message: cause.message, ...cause.details } } };
    }
    options.log('failed', { path: request.url, reason: cause instanceof Error ? cause.stack : String(cause) });
    return {
      status: 500,
      body: { error: { code: 'internal', message: 'the service failed; its log has the reason' } },
    };
  }
}

function matchRoute(routes: Route[], method: string, pathname: string) {
  const wanted = pathname.split('/').filter(Boolean);
  let pathExists = false;
  for (const route of routes) {
    const params = matchPath(route.path.split('/').filter(Boolean), wanted);
    if (!params) continue;
    pathExists = true;
    if (route.method === method) return { route, params };
  }
  if (pathExists) throw new Refusal(405, 'method-not-allowed', `${method} ${pathname} does not exist`);
  throw new Refusal(404, 'not-found', `${pathname} does not exist`);
}

function matchPath(pattern: string[], wanted: string[]): Record<string, string> | undefined {
  if (pattern.length !== wanted.length) return undefined;
  const params: Record<string, string> = {};
  for (const [index, segment] of pattern.entries()) {
    const value = wanted[index] ?? '';
    if (segment.startsWith(':')) params[segment.slice(1)] = decodeSegment(value);
    else if (segment !== value) return undefined;
  }
  return params;
}

function decodeSegment(value: string): string {
  try {
    return decodeURIComponent(value);
  } catch {
    throw new Refusal(400, 'bad-request', `the path segment "${value}" is not valid percent-encoding`);
  }
}

async function readJson(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    // The rest is read and dropped: leaving it unread would close the connection before the refusal is sent.
    if (sizeBytes <= LARGEST_BODY_BYTES) chunks.push(chunk);
  }
  if (sizeBytes > LARGEST_BODY_BYTES) {
    throw new Refusal(413, 'body-too-large', `a body may have ${LARGEST_BODY_BYTES} bytes, this one has ${sizeBytes}`);
  }
  if (sizeBytes === 0) return undefined;
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8')) as unknown;
  } catch {
    throw new Refusal(400, 'bad-request', 'the body is not JSON');
  }
}

async function withDeadline<T>(work: Promise<T>, deadlineMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    const message = `no answer within ${deadlineMs} ms; what was asked may still happen, so repeat it with the same id`;
    timer = setTimeout(() => reject(new Refusal(503, 'deadline-exceeded', message)), deadlineMs);
  });
  // Promise.race subscribes to both, so the loser's rejection is handled too.
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function send(response: ServerResponse, reply: JsonReply, headers: Record<string, string>): void {
  const text = JSON.stringify(reply.body);
  response.writeHead(reply.status, {
    ...headers,
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
  });
  response.end(text);
}
