import * as dns from 'node:dns/promises';
import type * as packet from 'dns-packet';
import type { DnsAnswer, DnsRecord } from '../../core/traffic';
import { absoluteName } from './domain-name';
import { queryServer } from './dns-query';

export interface NameServer {
  /** As shown to people: `ns-1.example.com:53` or `127.20.0.53:5353`. */
  readonly label: string;
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port`, `[::1]:53` and a bare host (port 53). */
export function parseNameServer(text: string): NameServer {
  const match = /^(?:\[(?<six>[^\]]+)\]|(?<host>[^:]+))(?::(?<port>\d+))?$/.exec(text);
  const host = match?.groups?.['six'] ?? match?.groups?.['host'] ?? text;
  return { label: text, host, port: Number(match?.groups?.['port'] ?? 53) };
}

/** The servers that the zone of `name` is delegated to: the NS records of the closest parent that has some. */
export async function findNameServers(
  name: string,
  options: { readonly timeoutMilliseconds: number; readonly resolvers?: readonly string[] },
): Promise<NameServer[]> {
  const resolver = new dns.Resolver({ timeout: options.timeoutMilliseconds, tries: 1 });
  if (options.resolvers) resolver.setServers(options.resolvers);
  const labels = absoluteName(name).slice(0, -1).split('.');
  let last: unknown = new Error('it has no parent zone');
  // Never above two labels: the servers of `com` are authoritative for nothing of ours.
  for (let cut = 0; cut <= labels.length - 2; cut += 1) {
    try {
      const names = await resolver.resolveNs(labels.slice(cut).join('.'));
      if (names.length > 0) return names.map((host) => ({ label: `${host}:53`, host, port: 53 }));
    } catch (error) {
      last = error; // most names have no NS records of their own: the next parent may
    }
  }
  throw new Error(`no name servers found for ${name}: ${last instanceof Error ? last.message : String(last)}`);
}

interface AskOptions {
  readonly timeoutMilliseconds: number;
  readonly signal: AbortSignal;
}

/** What one server says itself. A server that is not authoritative, or has no such record, is told as a problem. */
export async function askNameServer(
  server: NameServer,
  name: string,
  type: DnsRecord['type'],
  options: AskOptions,
): Promise<DnsAnswer> {
  return ask(server, { name, type, recursive: false }, options);
}

/** What a resolver hands to users, from its cache or from the zone. One that does not resolve is told as a problem. */
export async function askResolver(
  server: NameServer,
  name: string,
  type: DnsRecord['type'],
  options: AskOptions,
): Promise<DnsAnswer> {
  return ask(server, { name, type, recursive: true }, options);
}

interface Wanted {
  readonly name: string;
  readonly type: DnsRecord['type'];
  readonly recursive: boolean;
}

async function ask(server: NameServer, wanted: Wanted, options: AskOptions): Promise<DnsAnswer> {
  try {
    const answer = await queryServer(server, wanted, options);
    return read(server.label, answer, wanted);
  } catch (error) {
    options.signal.throwIfAborted();
    const problem = error instanceof Error ? error.message : String(error);
    return { server: server.label, values: [], ttlSeconds: null, problem };
  }
}

function read(server: string, answer: packet.DecodedPacket, { name, type, recursive }: Wanted): DnsAnswer {
  const records = (answer.answers ?? []).filter((each) => each.type === type || each.type === 'CNAME');
  const wanted = records.filter((each) => each.type === type) as (packet.StringAnswer & { ttl?: number })[];
  const values = wanted.map((each) => each.data).toSorted();
  const chain = type === 'CNAME' ? [] : records.filter((each) => each.type === 'CNAME');
  const aliases = (chain as packet.StringAnswer[]).map((each) => each.data);
  const ttlSeconds = wanted.length > 0 ? Math.min(...wanted.map((each) => each.ttl ?? 0)) : null;
  const rcode = (answer as { rcode?: string }).rcode ?? 'NOERROR';
  if (!recursive && !answer.flag_aa)
    return { server, values, ttlSeconds, problem: `is not authoritative for ${name} (${rcode})` };
  if (rcode !== 'NOERROR') return { server, values: [], ttlSeconds: null, problem: `answers ${rcode} for ${name}` };
  if (values.length === 0) {
    const problem = aliases[0] ? `${name} is a CNAME of ${aliases[0]}` : `has no ${type} record for ${name}`;
    return { server, values, ttlSeconds, problem };
  }
  return { server, values, ttlSeconds, problem: null, ...(aliases.length > 0 ? { aliases } : {}) };
}
