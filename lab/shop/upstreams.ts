import { readFileSync, unwatchFile, watchFile } from 'node:fs';
import { isServiceName, type ServiceName } from './service-names';

export interface Upstream {
  host: string;
  port: number;
}

/** The running replicas of each service, as the supervisor last wrote them. */
export interface Upstreams {
  of(service: ServiceName): readonly Upstream[];
  close(): void;
}

/** The file is on a local disk, where looking costs microseconds; a scale must not wait for the next look. */
const LOOK_EVERY_MS = 100;

/**
 * Follows a JSON file `{"order": ["127.20.1.23:8104"], …}` that is replaced by renaming. A file that is not there means
 * that nothing runs. One that cannot be understood is reported and leaves the last good one in force.
 */
export function followUpstreams(file: string, log: (event: string, fields?: object) => void): Upstreams {
  let current = new Map<ServiceName, Upstream[]>();
  const read = () => {
    try {
      current = parseUpstreams(readFileSync(file, 'utf8'));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code === 'ENOENT') current = new Map();
      else log('upstreams not understood', { file, reason: cause instanceof Error ? cause.message : String(cause) });
    }
  };
  read();
  watchFile(file, { interval: LOOK_EVERY_MS }, read);
  return { of: (service) => current.get(service) ?? [], close: () => unwatchFile(file, read) };
}

function parseUpstreams(text: string): Map<ServiceName, Upstream[]> {
  const upstreams = new Map<ServiceName, Upstream[]>();
  for (const [service, addresses] of Object.entries(JSON.parse(text) as Record<string, unknown>)) {
    if (!isServiceName(service)) throw new Error(`"${service}" is no service of the shop`);
    if (!Array.isArray(addresses)) throw new Error(`"${service}" must have a list of addresses`);
    upstreams.set(service, addresses.map(parseAddress));
  }
  return upstreams;
}

function parseAddress(address: unknown): Upstream {
  const [, host, port] = /^([\d.]+):(\d{1,5})$/.exec(String(address)) ?? [];
  if (!host || !port) throw new Error(`"${String(address)}" is no address; expected host:port`);
  return { host, port: Number(port) };
}
