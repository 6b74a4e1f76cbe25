import { CreateHostedZoneCommand, Route53Client } from '@aws-sdk/client-route-53';
import { createDnsZone } from '../../adapters/traffic';
import { settings as zoneSettings } from '../../adapters/traffic/settings';
import { Secret } from '../../core/secret';
import type { DnsZone } from '../../core/traffic';
import { type RunningDns, startDns } from '../../lab/dns/main';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { startMoto } from './servers';

export const DNS_PORT = 5353;

/** What the zone's adapter signs its requests with; no error and no log may name the second. */
export const zoneKeys = { accessKeyId: 'the-access-key-id', secretAccessKey: 'the-secret-access-key' };

/** The adapter for a zone of the emulator, by its id. */
export const route53Zone = (endpoint: string, zoneId: string, timeoutSeconds = 10): DnsZone =>
  createDnsZone(
    zoneSettings.parse({
      kind: 'route53',
      zoneId,
      endpoint,
      accessKeyId: new Secret(zoneKeys.accessKeyId),
      secretAccessKey: new Secret(zoneKeys.secretAccessKey),
      timeoutSeconds,
    }),
  );

export interface ServedZone {
  readonly moto: Awaited<ReturnType<typeof startMoto>>;
  readonly dns: RunningDns;
  /** Past our adapter, for what somebody else does to the zone. */
  readonly aws: Route53Client;
  readonly zoneId: string;
  readonly zone: DnsZone;
  /** `host:port` of each, in the order of the delays; and of the caching resolver. */
  readonly nameServers: readonly string[];
  readonly resolver: string;
  stop(): Promise<void>;
}

/** A hosted zone of the emulator, served by real DNS servers: an authoritative one for each delay, and a resolver. */
export async function serveZone(name: string, delaysMs: readonly number[]): Promise<ServedZone> {
  const moto = await startMoto();
  const credentials = { accessKeyId: 'test', secretAccessKey: 'test' };
  const aws = new Route53Client({ endpoint: moto.endpoint, region: 'us-east-1', credentials });
  const created = await aws.send(new CreateHostedZoneCommand({ Name: name, CallerReference: 'test' }));
  const zoneId = (created.HostedZone?.Id ?? '').replace('/hostedzone/', '');
  const hosts: string[] = [];
  for (const _ of delaysMs) hosts.push(await freeLoopbackHost(DNS_PORT));
  const resolverHost = await freeLoopbackHost(DNS_PORT);
  const dns = await startDns({
    hosts,
    port: DNS_PORT,
    route53Endpoint: moto.endpoint,
    hostedZoneId: zoneId,
    delaysMs: [...delaysMs],
    resolverHosts: [resolverHost],
  });
  return {
    ...{ moto, dns, aws, zoneId, zone: route53Zone(moto.endpoint, zoneId) },
    nameServers: hosts.map((host) => `${host}:${DNS_PORT}`),
    resolver: `${resolverHost}:${DNS_PORT}`,
    async stop() {
      await dns.stop();
      aws.destroy();
      await moto.stop();
    },
  };
}
