import { portNumber, required } from '../shop/settings';
import { startCachingResolver } from './caching-resolver';
import { startNameServer } from './name-server';
import { route53ZoneReader } from './route53-zone';
import { propagateZone } from './zone-propagation';

export interface DnsSettings {
  hosts: string[];
  port: number;
  route53Endpoint: string;
  hostedZoneId: string;
  /** How long each server, in the order of the hosts, goes on with the old zone after a change. */
  delaysMs: number[];
  /** Addresses of caching resolvers beside them, at the same port. */
  resolverHosts?: string[];
}

export interface RunningDns {
  stop(): Promise<void>;
}

/** Starts one authoritative name server a host, and resolvers beside them; resolves when they answer from the zone. */
export async function startDns(settings: DnsSettings): Promise<RunningDns> {
  const log = (event: string, fields: object = {}) =>
    process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), program: 'dns', event, ...fields })}\n`);
  const reader = route53ZoneReader(settings.route53Endpoint, settings.hostedZoneId);
  const delaysMs = settings.hosts.map((_, index) => settings.delaysMs[index] ?? 0);
  const propagation = propagateZone(reader, delaysMs, log);
  const servers = await Promise.all(
    settings.hosts.map((host, index) =>
      startNameServer(host, settings.port, propagation.served[index] ?? { zone: undefined }),
    ),
  );
  await propagation.ready;
  const { hosts, port, resolverHosts = [] } = settings;
  for (const host of resolverHosts) servers.push(await startCachingResolver({ host, port, nameServers: hosts }));
  log('answering', { hosts, port, delaysMs, resolverHosts });
  return {
    async stop() {
      propagation.stop();
      await Promise.all(servers.map((server) => server.stop()));
    },
  };
}

function settingsFrom(env: NodeJS.ProcessEnv): DnsSettings {
  return {
    hosts: required(env, 'DNS_HOSTS').split(','),
    port: portNumber(env, 'DNS_PORT'),
    route53Endpoint: required(env, 'DNS_ROUTE53_ENDPOINT'),
    hostedZoneId: required(env, 'DNS_ZONE_ID'),
    delaysMs: (env['DNS_DELAY_MS'] ?? '').split(',').filter(Boolean).map(delay),
    resolverHosts: (env['DNS_RESOLVER_HOSTS'] ?? '').split(',').filter(Boolean),
  };
}

function delay(text: string): number {
  if (!/^\d{1,6}$/.test(text)) throw new Error(`DNS_DELAY_MS has "${text}"; it must be milliseconds, one a host`);
  return Number(text);
}

async function main(): Promise<void> {
  // Also while it waits for the zone there is nothing to save: a signal may end it at once.
  process.once('SIGTERM', () => process.exit(0));
  process.once('SIGINT', () => process.exit(0));
  await startDns(settingsFrom(process.env));
}

if (require.main === module) {
  main().catch((error: unknown) => {
    process.stderr.write(`the name servers did not start: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exit(1);
  });
}
