import type { Client } from '@temporalio/client';
import { failedBackupsOf } from '../../activities/failed-backups';
import type { LoadedConfig } from '../../config/load';
import type { Logger } from '../../core/call';
import { logger } from '../runtime';
import type { WiredApplication } from '../wiring';
import { ApplicationFigures } from './application-figures';
import { type Listen, serveMetrics } from './endpoint';
import { roleChangeOf } from './temporal-runs';

const log: Logger = {
  debug: (fields, message) => logger.debug(fields, message),
  info: (fields, message) => logger.info(fields, message),
  warn: (fields, message) => logger.warn(fields, message),
  error: (fields, message) => logger.error(fields, message),
};

/** Starts to collect and to answer where a config wants that; all of it ends with the signal. One address a process: the first that is configured. */
export function startMetrics(
  configs: readonly LoadedConfig[],
  applications: ReadonlyMap<string, WiredApplication>,
  site: string,
  client: Client,
  signal: AbortSignal,
): void {
  const wanted = configs.flatMap(({ application, metrics: { prometheus } }) => {
    const open = applications.get(application);
    return prometheus && open ? [{ open, prometheus }] : [];
  });
  const listen = wanted.map(({ prometheus }) => listenAt(prometheus.listen, site)).find((each) => each !== null);
  if (!listen) return;
  const runs = {
    failedBackups: failedBackupsOf(client),
    roleChange: (application: string) => roleChangeOf(client, application),
  };
  const figures = wanted.map(
    ({ open, prometheus }) => new ApplicationFigures(open, site, runs, prometheus.intervalSeconds, log),
  );
  for (const each of figures) void each.run(signal);
  void serveMetrics(listen, figures, site, signal, log);
}

/** Null for a site that the map leaves out. */
function listenAt(listen: string | Readonly<Record<string, string>>, site: string): Listen | null {
  const text = typeof listen === 'string' ? listen : listen[site];
  if (text === undefined) return null;
  const at = text.lastIndexOf(':');
  return { host: text.slice(0, at).replace(/^\[(.*)\]$/, '$1'), port: Number(text.slice(at + 1)) };
}
