import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { PROMETHEUS_CONTENT_TYPE, prometheusText } from '../../adapters/metrics/prometheus';
import type { Logger } from '../../core/call';
import type { ApplicationFigures } from './application-figures';
import { siteHealth } from './site-health';

/** An address that is taken may be free later: the worker that was here before needs its grace to end. */
const TRY_AGAIN_MILLISECONDS = 15_000;

const PAGES = `drctl worker

/metrics      what Prometheus scrapes
/site-health  200 while this site could serve, 503 and why while it could not
/healthz      200 while this process lives
`;

export interface Listen {
  readonly host: string;
  readonly port: number;
}

/** Answers Prometheus. A worker does its work whether it can or not: an address that is taken is tried again. */
export async function serveMetrics(
  { host, port }: Listen,
  figures: readonly ApplicationFigures[],
  site: string,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  while (!signal.aborted) {
    const server = createServer((request, response) => void answer(request, response, figures, site));
    try {
      server.listen(port, host);
      await once(server, 'listening');
      // Later errors are of single connections, whose clients see them.
      server.on('error', (error) =>
        log.warn({ host, port, reason: error.message }, 'the metrics endpoint had an error'),
      );
      log.info({ host, port }, 'metrics are answered');
      await untilAborted(signal);
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      log.error({ host, port, reason }, 'metrics cannot be answered: see metrics.prometheus.listen in the config');
      await sleep(TRY_AGAIN_MILLISECONDS, undefined, { signal }).catch(() => undefined); // the loop's end
    } finally {
      close(server);
    }
  }
}

async function answer(
  { url = '/', method }: IncomingMessage,
  response: ServerResponse,
  figures: readonly ApplicationFigures[],
  site: string,
): Promise<void> {
  const path = url.split('?')[0];
  const plain = (status: number, text: string) =>
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(method === 'HEAD' ? '' : text);
  if (method !== 'GET' && method !== 'HEAD') return void plain(405, 'only GET is answered here\n');
  if (path === '/healthz') return void plain(200, 'ok\n');
  if (path === '/') return void plain(200, PAGES);
  if (path !== '/metrics' && path !== '/site-health') return void plain(404, PAGES);
  const { status, families } =
    path === '/metrics'
      ? { status: 200, families: figures.flatMap((each) => each.families()) }
      : siteHealth(
          site,
          figures.map((each) => each.facts),
        );
  const text = await prometheusText(merged(families));
  response.writeHead(status, { 'content-type': PROMETHEUS_CONTENT_TYPE }).end(method === 'HEAD' ? '' : text);
}

/** A name is told of once, with the samples of every application. */
function merged<F extends { readonly name: string; readonly samples: readonly unknown[] }>(
  families: readonly F[],
): F[] {
  const byName = new Map<string, F>();
  for (const family of families) {
    const before = byName.get(family.name);
    byName.set(family.name, before ? { ...family, samples: [...before.samples, ...family.samples] } : family);
  }
  return [...byName.values()];
}

function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

function close(server: Server): void {
  server.close();
  server.closeAllConnections();
}
