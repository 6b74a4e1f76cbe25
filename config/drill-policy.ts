import type { DrillPolicy } from '../core/drill';
import type { Config } from './schema';

/** Addresses that nobody has (RFC 5737, RFC 3849, RFC 6761): they stand for the site that is lost. */
const NOBODY = { A: '192.0.2.1', AAAA: '2001:db8::1', CNAME: 'drctl.invalid' } as const;

/** Half an hour, the strategy's limit, where the config has no `drill`. */
const RECOVERY_WITHIN_SECONDS = 1_800;

export function drillPolicy({ drill, services }: Pick<Config, 'drill' | 'services'>): DrillPolicy {
  const name = drill?.name;
  const performance = drill?.performance;
  return {
    tellPeople: drill?.notifyStakeholders ?? true,
    without: drill?.without ?? [],
    recoveryWithinSeconds: drill?.recoveryWithin.seconds ?? RECOVERY_WITHIN_SECONDS,
    name: name
      ? {
          name: name.name,
          type: name.type,
          ttlSeconds: name.ttl.seconds,
          before: [NOBODY[name.type]],
          values: name.values,
        }
      : null,
    bubble: drill?.bubble ? { groups: services?.groups ?? [] } : null,
    performance: {
      requests: performance?.requests ?? 200,
      concurrency: performance?.concurrency ?? 4,
      p95Milliseconds: performance?.p95?.milliseconds ?? null,
      slowerBy: performance?.slowerBy ?? 2,
    },
    targets: (drill?.targets ?? []).map(({ name: called, store, service, site, pods, evenActive }) => ({
      name: called,
      store: store ?? null,
      service: service ?? null,
      site: site ?? null,
      pods: pods ?? null,
      evenActive,
    })),
  };
}

/** What production listens on, as far as the config knows: none of it may be reached from the bubble. */
export function forbiddenAddresses(config: Pick<Config, 'stores' | 'dns' | 'endpoints' | 'drill'>): string[] {
  const stores = Object.values(config.stores).flatMap(({ servers }) => Object.values(servers).flat());
  const hosts = (config.dns?.records ?? []).flatMap(({ values }) => Object.values(values).flat());
  const ports = config.endpoints.map(({ url }) => {
    const { port, protocol } = new URL(url);
    return port || (protocol === 'https:' ? '443' : '80');
  });
  const publicOnes = hosts.flatMap((host) => ports.map((port) => `${host.includes(':') ? `[${host}]` : host}:${port}`));
  return [...new Set([...stores, ...publicOnes, ...(config.drill?.mustNotReach ?? [])])];
}
