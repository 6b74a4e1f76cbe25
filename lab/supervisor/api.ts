import { timingSafeEqual } from 'node:crypto';
import * as http from 'node:http';
import { z } from 'zod';
import { disksOf } from './disks';
import { Refusal } from './refusal';
import type { Supervisor } from './supervisor';

const SIGNALS = ['SIGSTOP', 'SIGCONT', 'SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2', 'SIGKILL'] as const;
const name = z.string().regex(/^[a-z0-9][a-z0-9-]*$/);
const command = {
  name,
  site: name,
  argv: z.array(z.string()).min(1),
  env: z.record(z.string(), z.string()).default({}),
  cwd: z.string(),
};
const program = z.strictObject({
  ...command,
  kind: z.enum(['store', 'service', 'node', 'gateway', 'worker', 'infrastructure', 'program']).default('program'),
  store: name.optional(),
  unprivileged: z.boolean().optional(),
  restart: z.boolean().default(false),
  stopSignal: z.enum(SIGNALS).optional(),
  healthUrl: z.url().optional(),
  postgresql: z.strictObject({ dataDir: z.string(), controldata: z.string() }).optional(),
});
const service = z.strictObject({
  ...command,
  host: z.string(),
  firstPort: z.int(),
  upstreamsFile: z.string(),
  initialReplicas: z.int().min(0),
});
const epoch = z.int().min(0);
const fence = z.strictObject({
  epoch,
  stores: z.array(name).optional(),
  /** Killing and seeing gone has to fit into the caller's patience as well. */
  endWithinSeconds: z.number().min(0).max(60).default(0),
});
const standby = z.strictObject({ epoch });
const lift = z.strictObject({ epoch: z.int().min(0), restart: z.boolean().default(false) });
const replicas = z.strictObject({ replicas: z.int().min(0).max(20) });
const copies = z.record(name, z.string().regex(/^[\d.]+:\d{1,5}$/));
const bubble = z.strictObject({ drillId: z.string().regex(/^[0-9a-f]{8}$/), copies });
const connections = z.strictObject({ targets: z.array(z.string()).max(1_000) });
const bubbleTemplate = z.strictObject({ site: name, folder: z.string(), programs: z.array(program) });
const signal = z.strictObject({ signal: z.enum(SIGNALS) });

/** A registration is some kilobytes; more is a mistake. */
const BODY_LIMIT_BYTES = 256 * 1024;

type Handler = (supervisor: Supervisor, names: readonly string[], body: unknown) => unknown;

/** Every request the supervisor takes. `:x` stands for a name. */
const ROUTES: readonly (readonly [method: string, pattern: string, handler: Handler])[] = [
  ['GET', '/processes', (lab) => lab.processes()],
  ['POST', '/processes/:name/start', (lab, [process = '']) => lab.start(process)],
  ['POST', '/processes/:name/stop', (lab, [process = '']) => lab.stop(process)],
  ['POST', '/processes/:name/kill', (lab, [process = '']) => lab.kill(process)],
  ['POST', '/processes/:name/signal', (lab, [process = ''], body) => lab.signal(process, signal.parse(body).signal)],
  ['POST', '/programs', (lab, _, body) => lab.register(program.parse(body))],
  ['DELETE', '/programs/:name', (lab, [process = '']) => lab.unregister(process)],
  ['POST', '/sites/:site/kill', (lab, [site = '']) => lab.killSite(site)],
  ['POST', '/sites/:site/start', (lab, [site = '']) => lab.startSite(site)],
  ['GET', '/sites/:site/fence', (lab, [site = '']) => lab.fenceOf(site)],
  ['GET', '/sites/:site/disks', (lab, [site = '']) => disksOf(lab.specs(), site)],
  ['PUT', '/sites/:site/fence', putFence],
  ['DELETE', '/sites/:site/fence', deleteFence],
  [
    'PUT',
    '/sites/:site/stores/:store/standby',
    (lab, [site = '', store = ''], body) => lab.startStandby(site, store, standby.parse(body).epoch),
  ],
  ['GET', '/sites/:site/services', (lab, [site = '']) => lab.services.of(site)],
  [
    'PUT',
    '/sites/:site/services/:name',
    (lab, [site = '', each = ''], body) => lab.services.scale(site, each, replicas.parse(body).replicas),
  ],
  ['POST', '/services', defineService],
  ['PUT', '/sites/:site/services/:name/crash', (lab, [site = '', each = '']) => lab.services.crash(site, each)],
  ['PUT', '/sites/:site/stores/:store/crash', (lab, [site = '', store = '']) => lab.crashStore(site, store)],
  ['POST', '/bubbles', (lab, _, body) => lab.bubbles.define(bubbleTemplate.parse(body))],
  ['GET', '/sites/:site/bubble', (lab, [site = '']) => lab.bubbles.look(site)],
  ['PUT', '/sites/:site/bubble', (lab, [site = ''], body) => lab.bubbles.open(site, bubble.parse(body))],
  ['DELETE', '/sites/:site/bubble', (lab, [site = '']) => lab.bubbles.close(site)],
  [
    'PUT',
    '/sites/:site/bubble/connections',
    (lab, [site = ''], body) => lab.bubbles.connections(site, connections.parse(body).targets),
  ],
];

function putFence(supervisor: Supervisor, [site = '']: readonly string[], body: unknown): Promise<unknown> {
  const request = fence.parse(body);
  return supervisor.fence(site, request.epoch, request.stores ?? null, request.endWithinSeconds);
}

function deleteFence(supervisor: Supervisor, [site = '']: readonly string[], body: unknown): unknown {
  const request = lift.parse(body);
  return supervisor.unfence(site, request.epoch, request.restart);
}

function defineService(supervisor: Supervisor, _: readonly string[], body: unknown): Promise<unknown> {
  const { initialReplicas, ...template } = service.parse(body);
  return supervisor.services.define(template, initialReplicas);
}

/** Serves the supervisor on one loopback address to whoever has the token. `onShutdown` runs after the reply was sent. */
export async function serveSupervisor(options: {
  supervisor: Supervisor;
  host: string;
  port: number;
  token: string;
  onShutdown: () => void;
}): Promise<http.Server> {
  const serve = async (request: http.IncomingMessage, response: http.ServerResponse): Promise<void> => {
    const { status, body } = await answer(options, request);
    // One connection a command: on one that idled, the next command may be lost to the server's closing it (nothing retries).
    response.writeHead(status, { 'content-type': 'application/json', connection: 'close' });
    response.end(JSON.stringify(body ?? null), () => {
      if (status === 202) options.onShutdown();
    });
  };
  const server = http.createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve, reject) =>
    server.once('error', reject).listen(options.port, options.host, resolve),
  );
  return server;
}

async function answer(
  { supervisor, token }: { supervisor: Supervisor; token: string },
  request: http.IncomingMessage,
): Promise<{ status: number; body: unknown }> {
  try {
    authorize(request, token);
    const { pathname } = new URL(request.url ?? '/', 'http://supervisor');
    if (request.method === 'POST' && pathname === '/shutdown') {
      await supervisor.shutdown();
      return { status: 202, body: null };
    }
    const body = await readBody(request);
    for (const [method, pattern, handler] of ROUTES) {
      const names = match(pattern, pathname);
      if (method === request.method && names) return { status: 200, body: await handler(supervisor, names, body) };
    }
    throw new Refusal(404, `${request.method} ${pathname} does not exist`);
  } catch (error) {
    if (error instanceof Refusal) return { status: error.status, body: { error: error.message } };
    if (error instanceof z.ZodError) return { status: 400, body: { error: z.prettifyError(error) } };
    return { status: 500, body: { error: error instanceof Error ? error.message : String(error) } };
  }
}

function authorize(request: http.IncomingMessage, token: string): void {
  const given = Buffer.from(request.headers.authorization ?? '');
  const wanted = Buffer.from(`Bearer ${token}`);
  if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) throw new Refusal(401, 'the token is wrong');
}

function match(pattern: string, pathname: string): string[] | null {
  const [wanted, given] = [pattern.split('/'), pathname.split('/')];
  if (wanted.length !== given.length) return null;
  const names: string[] = [];
  for (const [index, part] of wanted.entries()) {
    if (part.startsWith(':')) names.push(decodeURIComponent(given[index] ?? ''));
    else if (part !== given[index]) return null;
  }
  return names;
}

async function readBody(request: http.IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length;
    if (sizeBytes > BODY_LIMIT_BYTES) throw new Refusal(400, 'the request is too large');
    chunks.push(chunk);
  }
  if (sizeBytes === 0) return {};
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new Refusal(400, 'the request is no JSON');
  }
}
