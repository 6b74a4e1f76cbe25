import { SEARCH_ATTRIBUTES } from '../../core/names';
import { serverBinaries } from '../runtime/servers';
import { type ServerCommand, waitUntil } from './process';

/** Temporal's development server: complete, in one process, its state in one SQLite file when one is named. */
export function temporalCommand(options: {
  dataDir: string;
  host: string;
  port: number;
  uiPort?: number;
  databaseFile?: string;
}): ServerCommand {
  const { host, port, uiPort, databaseFile } = options;
  const ui = uiPort ? ['--ui-ip', host, '--ui-port', `${uiPort}`, '--ui-disable-news-fetch'] : ['--headless'];
  const attributes = Object.entries(SEARCH_ATTRIBUTES).flatMap(([name, type]) => [
    '--search-attribute',
    `${name}=${type}`,
  ]);
  const state = databaseFile ? ['--db-filename', databaseFile] : [];
  const argv = [serverBinaries().temporal, 'server', 'start-dev', '--ip', host, '--port', `${port}`, ...ui, ...state];
  return { argv: [...argv, ...attributes, '--log-level', 'warn'], cwd: options.dataDir, unprivileged: true };
}

/** Resolves when the namespace `default` can be used. */
export async function temporalReady({ host, port }: { host: string; port: number }): Promise<void> {
  const { Connection } = await import('@temporalio/client'); // heavy, and needed by this server alone
  await waitUntil(`Temporal at ${host}:${port} answering`, async () => {
    const connection = await Connection.connect({ address: `${host}:${port}`, connectTimeout: 2000 });
    try {
      await connection.workflowService.describeNamespace({ namespace: 'default' });
      return true;
    } finally {
      await connection.close();
    }
  });
}
