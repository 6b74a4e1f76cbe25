import type { CallContext } from './call';

export interface DnsRecord {
  readonly name: string;
  readonly type: 'A' | 'AAAA' | 'CNAME';
  readonly ttlSeconds: number;
  readonly values: readonly string[];
}

/** The zone's control plane (Route 53). */
export interface DnsZone {
  readonly kind: string;
  record(name: string, type: DnsRecord['type'], ctx: CallContext): Promise<DnsRecord | null>;
  /**
   * Throws what `upsert` and `inSync` would meet (no right to it, nobody who answers), as far as that can be found out without
   * a change. Only of a record that the zone has.
   */
  rehearse(record: Pick<DnsRecord, 'name' | 'type'>, ctx: CallContext): Promise<void>;
  /** Creates or replaces; repeatable. Answers an id for `inSync`. */
  upsert(record: DnsRecord, ctx: CallContext): Promise<string>;
  /** Removes exactly this record and answers an id for `inSync`; null where the zone has none of its name and type. */
  remove(record: DnsRecord, ctx: CallContext): Promise<string | null>;
  /** Whether the control plane says that every name server has the change. */
  inSync(changeId: string, ctx: CallContext): Promise<boolean>;
}

export interface DnsAnswer {
  /** Which server said so: `ns-1.example:53`. */
  readonly server: string;
  readonly values: readonly string[];
  readonly ttlSeconds: number | null;
  /** Why there is no answer; null when there is one. */
  readonly problem: string | null;
  /** The names that the asked one is an alias of, one leading to the next; left out where it is none. */
  readonly aliases?: readonly string[];
}

/** Whether a server answered with exactly these values, as DNS compares them: names without case, addresses in any notation. */
export function hasValues(answer: DnsAnswer, type: DnsRecord['type'], values: readonly string[]): boolean {
  const form = (each: readonly string[]) =>
    each
      .map((value) => comparable(type, value))
      .toSorted()
      .join(' ');
  return answer.problem === null && form(answer.values) === form(values);
}

/** Whether two values of records are the same host: names without case and final dot, IPv6 addresses in any notation. */
export function sameHost(one: string, other: string): boolean {
  const form = (value: string) => comparable(value.includes(':') ? 'AAAA' : 'A', value);
  return form(one) === form(other);
}

function comparable(type: DnsRecord['type'], value: string): string {
  if (type === 'AAAA') return URL.canParse(`http://[${value}]`) ? new URL(`http://[${value}]`).hostname : value;
  return value.toLowerCase().replace(/\.$/, '');
}

export interface EndpointResult {
  readonly url: string;
  readonly method: string;
  readonly ok: boolean;
  readonly status: number | null;
  readonly milliseconds: number;
  /** The address that the name resolved to for this request. */
  readonly address: string | null;
  readonly problem: string | null;
  /** The names that the URL's name is an alias of; left out where it is none. */
  readonly aliases?: readonly string[];
}

export interface EndpointCheck {
  readonly url: string;
  readonly method: 'GET' | 'POST';
  readonly expectStatus: number;
  readonly timeoutMilliseconds: number;
}

/** The public side seen from outside: real DNS queries and real HTTP requests. Never throws for a "no": it says so. */
export interface PublicProbe {
  /** Asks every authoritative server of the zone directly. */
  authoritative(name: string, type: DnsRecord['type'], ctx: CallContext): Promise<DnsAnswer[]>;
  /**
   * Asks the configured resolvers, through whose caches users see the name. What they say is for people: a resolver that
   * has changed proves nothing about another one, nor about the zone.
   */
  resolvers(name: string, type: DnsRecord['type'], ctx: CallContext): Promise<DnsAnswer[]>;
  /** Requests the URL at the address its name has *now* according to the authoritative servers; no cache in between. */
  endpoint(check: EndpointCheck, ctx: CallContext): Promise<EndpointResult>;
  /** The same at a given address, whatever DNS says: for probing a site that is not (or no longer) public. */
  endpointAt(address: string, check: EndpointCheck, ctx: CallContext): Promise<EndpointResult>;
}
