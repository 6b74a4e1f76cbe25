import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { checkShop } from './gateway-health';
import { forward, UpstreamAway } from './forward';
import { drain } from './json-server';
import { SERVICE_NAMES, SERVICE_PATHS, type ServiceName } from './service-names';
import { portNumber, required } from './settings';
import { followUpstreams, type Upstreams } from './upstreams';

export interface GatewaySettings {
  host: string;
  port: number;
  upstreamsFile: string;
  /** Named in `x-site`; without it a reply has the `x-site` of the service that made it. */
  site?: string;
}

export interface RunningGateway {
  stop(): Promise<void>;
}

const DRAIN_MS = 800;

/** Runs the front door of one site; resolves when it accepts connections. */
async function startGateway(settings: GatewaySettings): Promise<RunningGateway> {
  const log = (event: string, fields: object = {}) =>
    process.stderr.write(
      `${JSON.stringify({ at: new Date().toISOString(), gateway: settings.host, event, ...fields })}\n`,
    );
  const upstreams = followUpstreams(settings.upstreamsFile, log);
  const server = createServer((request, response) => {
    if (settings.site) response.setHeader('x-site', settings.site);
    void serve(upstreams, request, response, log);
  });
  server.listen(settings.port, settings.host);
  await once(server, 'listening');
  log('listening', { port: settings.port });
  return {
    async stop() {
      upstreams.close();
      await drain(server, DRAIN_MS);
    },
  };
}

async function serve(
  upstreams: Upstreams,
  request: IncomingMessage,
  response: ServerResponse,
  log: (event: string, fields?: object) => void,
): Promise<void> {
  const path = (request.url ?? '/').split('?')[0] ?? '/';
  if (path === '/health') {
    const health = await checkShop(upstreams);
    reply(response, health.healthy ? 200 : 503, health);
    return;
  }
  const service = serviceFor(path);
  if (!service) {
    reply(response, 404, { error: { code: 'not-found', message: `${path} does not exist` } });
    return;
  }
  try {
    await forward(upstreams.of(service), service, request, response);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    log('not served', { service, path, reason });
    // Once the reply has begun its status cannot be taken back: cutting the connection is what tells the client.
    if (response.headersSent) response.destroy();
    else
      reply(response, 503, {
        error: { code: cause instanceof UpstreamAway ? 'not-sent' : 'no-reply', service, message: reason },
      });
  }
}

function serviceFor(path: string): ServiceName | undefined {
  return SERVICE_NAMES.find((name) => path === SERVICE_PATHS[name] || path.startsWith(`${SERVICE_PATHS[name]}/`));
}

function reply(response: ServerResponse, status: number, body: object): void {
  const text = JSON.stringify(body);
  response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) });
  response.end(text);
}

async function main(): Promise<void> {
  const running = await startGateway({
    host: required(process.env, 'GATEWAY_HOST'),
    port: portNumber(process.env, 'GATEWAY_PORT'),
    upstreamsFile: required(process.env, 'GATEWAY_UPSTREAMS_FILE'),
    site: process.env['GATEWAY_SITE'],
  });
  const stop = () => void running.stop().then(() => process.exit(0));
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

if (require.main === module) {
  main().catch((error: unknown) => {
    process.stderr.write(`the gateway did not start: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
}
