import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { serveSupervisor } from '../../lab/supervisor/api';
import { Supervisor } from '../../lab/supervisor/supervisor';

/** A replica of a service that is ready as soon as it listens. */
const REPLICA = `require('node:http').createServer((_, response) => response.end('ok'))
  .listen(Number(process.env.PORT), process.env.HOST);`;
/** A store's process with a child of its own, as PostgreSQL has its backends; a child that a test forgets ends by itself. */
const STORE = `require('node:child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 120_000)'], { stdio: 'ignore' });
  setInterval(() => {}, 1000);`;

export interface SupervisedSite {
  readonly supervisor: Supervisor;
  readonly url: string;
  readonly token: string;
  readonly folder: string;
  stop(): Promise<void>;
}

/** The real supervisor on a port of its own, with one site of two stores and two services at zero replicas. */
export async function startSupervisedSite(site: string): Promise<SupervisedSite> {
  const folder = mkdtempSync(join(tmpdir(), 'drctl-supervisor-'));
  chmodSync(folder, 0o755);
  const supervisor = new Supervisor(folder);
  const token = 'the-supervisor-token';
  const server = await serveSupervisor({ supervisor, host: '127.0.0.1', port: 0, token, onShutdown: () => {} });
  const host = await freeLoopbackHost(8101);
  const common = { site, cwd: folder };
  for (const store of ['orders-db', 'cache']) {
    const argv = [process.execPath, '-e', STORE];
    await supervisor.register({ ...common, name: `${site}-${store}`, kind: 'store', store, argv, restart: true });
  }
  for (const [index, name] of ['auth', 'user'].entries()) {
    const argv = [process.execPath, '-e', REPLICA];
    const env = { HOST: '{host}', PORT: '{port}' };
    const place = { host, firstPort: 8101 + index * 100, upstreamsFile: join(folder, 'upstreams.json') };
    await supervisor.services.define({ ...common, name, argv, env, ...place }, 0);
  }
  return {
    supervisor,
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token,
    folder,
    async stop() {
      if (!server.listening) return; // stopped by the test itself
      await supervisor.shutdown();
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
