import { SERVICE_NAMES, type ServiceName } from './service-names';
import type { Upstream, Upstreams } from './upstreams';

export interface ShopHealth {
  healthy: boolean;
  /** The sites that the replicas say they run in: one, unless something is badly wrong. */
  sites: string[];
  services: Record<string, { healthy: boolean; replicas: ReplicaHealth[]; reason?: string }>;
}

interface ReplicaHealth {
  address: string;
  healthy: boolean;
  site?: string;
  /** What the replica says of its stores, or why it says nothing. */
  stores?: Record<string, string>;
  reason?: string;
}

/** Longer than a service's own deadline (2.7 s), so that its reason arrives. */
const PROBE_TIMEOUT_MS = 3_500;

/** Asks every replica of every service. Healthy means: each service has a replica, and all replicas are healthy. */
export async function checkShop(upstreams: Upstreams): Promise<ShopHealth> {
  const entries = await Promise.all(
    SERVICE_NAMES.map(async (name) => [name, await checkService(name, upstreams)] as const),
  );
  const replicas = entries.flatMap(([, service]) => service.replicas);
  return {
    healthy: entries.every(([, service]) => service.healthy),
    sites: [...new Set(replicas.flatMap((replica) => replica.site ?? []))],
    services: Object.fromEntries(entries),
  };
}

async function checkService(name: ServiceName, upstreams: Upstreams) {
  const replicas = await Promise.all(upstreams.of(name).map(checkReplica));
  if (replicas.length === 0) return { healthy: false, replicas, reason: `no replica of ${name} runs at this site` };
  return { healthy: replicas.every((replica) => replica.healthy), replicas };
}

async function checkReplica({ host, port }: Upstream): Promise<ReplicaHealth> {
  const address = `${host}:${port}`;
  try {
    const response = await fetch(`http://${address}/health`, { signal: AbortSignal.timeout(PROBE_TIMEOUT_MS) });
    const { site, stores } = (await response.json()) as Partial<ReplicaHealth>;
    return { address, healthy: response.status === 200, site, stores };
  } catch (cause) {
    const error = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    return { address, healthy: false, reason: error instanceof Error ? error.message : String(error) };
  }
}
