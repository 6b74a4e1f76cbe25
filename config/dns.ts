import * as net from 'node:net';
import { z } from 'zod';
import { zoneSettings } from './adapter-settings';
import { duration, hostAndPort, name } from './values';

/** RFC 2181 §8: a TTL is a whole number of seconds below 2³¹. */
const GREATEST_TTL_SECONDS = 2 ** 31 - 1;

export const ttl = duration.refine(
  ({ seconds }) => Number.isInteger(seconds) && seconds >= 1 && seconds <= GREATEST_TTL_SECONDS,
  {
    error: 'must be whole seconds, at least 1s',
  },
);

const HOST_NAME =
  /^(?!.*\.\.)(?=.{1,254}$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?$/i;

/** What a value has to be for a record of the type, and how that is said. */
export const VALUE_OF = {
  A: { is: (value: string) => net.isIPv4(value), wanted: 'is not an IPv4 address, as a record of type A needs' },
  AAAA: { is: (value: string) => net.isIPv6(value), wanted: 'is not an IPv6 address, as a record of type AAAA needs' },
  CNAME: {
    is: (value: string) => HOST_NAME.test(value) && net.isIP(value) === 0,
    wanted: 'is not a host name, as a record of type CNAME needs',
  },
} as const;

const record = z
  .strictObject({
    name: z.hostname(),
    type: z.enum(['A', 'AAAA', 'CNAME']),
    ttl,
    values: z
      .record(name, z.array(z.string().min(1)).min(1))
      .meta({ description: 'Site → values while it is active; a CNAME has one' }),
  })
  .superRefine(({ type, values }, context) => {
    for (const [site, each] of Object.entries(values)) {
      each.forEach((value, index) => {
        if (VALUE_OF[type].is(value)) return;
        context.addIssue({ code: 'custom', path: ['values', site, index], message: VALUE_OF[type].wanted });
      });
      if (type === 'CNAME' && each.length > 1) {
        const message = `has ${each.length} values; a CNAME has exactly one`;
        context.addIssue({ code: 'custom', path: ['values', site], message });
      }
    }
  });

/** Two records of one name and type would undo each other, and nothing may stand beside a CNAME (RFC 1034 §3.6.2). */
function oneOfEach(records: readonly z.output<typeof record>[], context: z.RefinementCtx): void {
  records.forEach((each, index) => {
    const before = records.slice(0, index).find((earlier) => sameName(earlier.name, each.name) && clash(earlier, each));
    if (!before) return;
    const message =
      before.type === each.type
        ? `is there twice with the type ${each.type}: list all values in one record`
        : 'has a CNAME and another record: nothing may stand beside a CNAME';
    context.addIssue({ code: 'custom', path: [index, 'name'], message });
  });
}

const sameName = (one: string, other: string) => bare(one) === bare(other);
const bare = (host: string) => host.toLowerCase().replace(/\.$/, '');
const clash = (one: { type: string }, other: { type: string }) =>
  one.type === other.type || one.type === 'CNAME' || other.type === 'CNAME';

/** The public names of the application, the zone that holds them, and who is asked what they say. */
export const dnsSettings = z
  .strictObject({
    zone: zoneSettings,
    nameServers: z
      .array(hostAndPort)
      .default([])
      .meta({ description: "The zone's authoritative servers; empty: the NS records of the zone" }),
    resolvers: z.array(hostAndPort).default([]).meta({
      description: 'Resolvers that users go through, asked and reported beside the name servers; they prove nothing',
    }),
    records: z.array(record).min(1).superRefine(oneOfEach),
  })
  .meta({ description: 'The public names that move with the active site' });
