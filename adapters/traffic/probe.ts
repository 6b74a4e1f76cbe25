import * as net from 'node:net';
import type { CallContext } from '../../core/call';
import type { DnsAnswer, DnsRecord, EndpointCheck, EndpointResult, PublicProbe } from '../../core/traffic';
import { requestAt } from './endpoint-request';
import { askNameServer, askResolver, findNameServers, type NameServer, parseNameServer } from './name-servers';

export interface PublicProbeOptions {
  /** Authoritative servers, `host:port`; empty: those that the zone of a name is delegated to. */
  readonly nameServers: readonly string[];
  /** Recursive resolvers, `address:port`, that know the delegation; the system's by default. */
  readonly delegationResolvers?: readonly string[];
  /** Resolvers that users go through, `host:port`: asked for what they hand out, and for nothing else. */
  readonly resolvers?: readonly string[];
  /** How long one server may take; 2 s by default. */
  readonly queryTimeoutSeconds?: number;
  /** PEM certificates trusted besides the system's, for a site with an authority of its own. */
  readonly certificateAuthorities?: string;
}

/** Asks as the public would, past every cache: the zone's own servers, then the address they name. */
export function createPublicProbe(options: PublicProbeOptions): PublicProbe {
  const configured = options.nameServers.map(parseNameServer);
  const resolversOfUsers = (options.resolvers ?? []).map(parseNameServer);
  const timeoutMilliseconds = (options.queryTimeoutSeconds ?? 2) * 1_000;

  async function authoritative(name: string, type: DnsRecord['type'], ctx: CallContext): Promise<DnsAnswer[]> {
    ctx.signal.throwIfAborted();
    let servers: readonly NameServer[];
    try {
      servers =
        configured.length > 0
          ? configured
          : await findNameServers(name, { timeoutMilliseconds, resolvers: options.delegationResolvers });
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      return [{ server: 'delegation', values: [], ttlSeconds: null, problem }];
    }
    const ask = { timeoutMilliseconds, signal: ctx.signal };
    return Promise.all(servers.map((server) => askNameServer(server, name, type, ask)));
  }

  async function resolvers(name: string, type: DnsRecord['type'], ctx: CallContext): Promise<DnsAnswer[]> {
    ctx.signal.throwIfAborted();
    const ask = { timeoutMilliseconds, signal: ctx.signal };
    return Promise.all(resolversOfUsers.map((server) => askResolver(server, name, type, ask)));
  }

  /** The first value of the first server that has one, in the order of the config: while servers disagree, theirs counts. */
  async function addressOf(
    name: string,
    ctx: CallContext,
  ): Promise<{ address: string; aliases?: readonly string[] } | { problem: string }> {
    if (net.isIP(name)) return { address: name };
    const problems: string[] = [];
    for (const type of ['A', 'AAAA', 'CNAME'] as const) {
      const answers = await authoritative(name, type, ctx);
      const found = answers.find(({ problem, values }) => problem === null && values.length > 0);
      const address = found?.values[0];
      if (found && address !== undefined) return { address, ...(found.aliases ? { aliases: found.aliases } : {}) };
      if (type === 'A') problems.push(...answers.map(({ server, problem }) => `${server}: ${problem}`));
    }
    return { problem: `no authoritative server has an address for ${name} (${problems.join('; ')})` };
  }

  async function endpoint(check: EndpointCheck, ctx: CallContext): Promise<EndpointResult> {
    const startedAt = performance.now();
    const { hostname } = new URL(check.url);
    const found = await addressOf(hostname.replace(/^\[(.*)\]$/, '$1'), ctx);
    if ('address' in found) {
      const result = await endpointAt(found.address, check, ctx);
      return found.aliases ? { ...result, aliases: found.aliases } : result;
    }
    const milliseconds = Math.round(performance.now() - startedAt);
    const { url, method } = check;
    return { url, method, ok: false, status: null, milliseconds, address: null, problem: found.problem };
  }

  async function endpointAt(address: string, check: EndpointCheck, ctx: CallContext): Promise<EndpointResult> {
    return requestAt(address, check, { signal: ctx.signal, certificateAuthorities: options.certificateAuthorities });
  }

  return { authoritative, resolvers, endpoint, endpointAt };
}
