import { enableCompileCache, flushCompileCache } from 'node:module';
import { once } from 'node:events';
import { healthCheck } from './health';
import { createJsonServer, drain } from './json-server';
import { serviceSettings, type ServiceSettings } from './settings';
import { SHOP_SERVICES } from './services';
import { openStores } from './stores';

export interface RunningService {
  port: number;
  /** Ends what is in flight, for at most 800 ms, and closes every connection. */
  stop(): Promise<void>;
}

/** A dead store must be reported within 3 s; its own time limits (2 s) come first and say which store it was. */
const REQUEST_DEADLINE_MS = 2_700;
/** The supervisor allows a second between SIGTERM and the end of the process. */
const DRAIN_MS = 800;

/** Runs one service of the shop; resolves when it accepts connections. Its stores may still be away: /health says so. */
export async function startService(settings: ServiceSettings): Promise<RunningService> {
  const { service, site, host, port } = settings;
  const log = (event: string, fields: object = {}) =>
    process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), service, site, event, ...fields })}\n`);
  const stores = openStores(settings.stores, `shop-${service}-${site}`, log);
  const { uses, routes } = SHOP_SERVICES[service]({ site, stores });
  const health = healthCheck(service, site, uses, stores);
  const server = createJsonServer({
    routes: [{ method: 'GET', path: '/health', handle: health }, ...routes],
    headers: { 'x-site': site },
    deadlineMs: REQUEST_DEADLINE_MS,
    log,
  });
  server.listen(port, host);
  await once(server, 'listening');
  log('listening', { host, port });
  // Loads the drivers and connects before anyone asks. What was compiled is kept now, because a lost site gets no exit.
  void health().then(() => flushCompileCache());
  return {
    port,
    async stop() {
      await drain(server, DRAIN_MS);
      await stores.close();
    },
  };
}

async function main(): Promise<void> {
  // The drivers' compiled code is kept between starts: a failover starts every service at the same time.
  enableCompileCache();
  const running = await startService(serviceSettings(process.env));
  const stop = () => {
    // A driver that hangs while closing must not hold up the stop: nothing is left to save by then.
    setTimeout(() => process.exit(0), DRAIN_MS + 100).unref();
    void running.stop().then(() => process.exit(0));
  };
  process.once('SIGTERM', stop);
  process.once('SIGINT', stop);
}

if (require.main === module) {
  main().catch((error: unknown) => {
    process.stderr.write(`the service did not start: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
}
