import type { CallContext } from '../core/call';
import { parseDurationMilliseconds } from '../core/clock';
import type { ChangeTtlInput, ChangeTtlResult } from '../core/dns-moves';
import { recordLabel } from '../core/dns-moves';
import { failure, reasonOf } from '../core/errors';
import { workflowIds } from '../core/names';
import { type DnsAnswer, hasValues } from '../core/traffic';
import type { DnsTarget } from '../core/application';
import { follow } from './follow';
import { backTo, printDetached, startRun } from './runs';
import type { Session } from './session';
import { shortTime, tableLines } from './table';

interface Said extends DnsAnswer {
  /** Name servers alone are proof of what is published; resolvers show what some users get. */
  readonly who: 'zone' | 'name server' | 'resolver';
  /** The site whose values these are; null: nobody's. */
  readonly site: string | null;
}

export interface NameSaid {
  readonly name: string;
  readonly type: DnsTarget['type'];
  readonly ttlSeconds: number;
  readonly answers: readonly Said[];
}

/** Asks the zone, every name server and every resolver of the config, from here. Changes nothing; needs no Temporal. */
export async function askDns(session: Session): Promise<NameSaid[]> {
  const { application, zone, probe } = await session.open();
  if (!zone) throw failure('NotFound', `${application.name} has no dns in ${session.config.file}`);
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const ctx: CallContext = { signal: new AbortController().signal, log: quiet, progress() {} };
  return Promise.all(
    application.dns.map(async (target): Promise<NameSaid> => {
      const { name, type, ttlSeconds } = target;
      const inZone = async (): Promise<DnsAnswer> => {
        const nothing = { server: zone.kind, values: [], ttlSeconds: null };
        try {
          const record = await zone.record(name, type, ctx);
          return record
            ? { server: zone.kind, values: record.values, ttlSeconds: record.ttlSeconds, problem: null }
            : { ...nothing, problem: `has no ${type} record for ${name}` };
        } catch (error) {
          return { ...nothing, problem: reasonOf(error) }; // whoever may not read the zone still sees what it publishes
        }
      };
      const [held, authoritative, resolvers] = await Promise.all([
        inZone(),
        probe.authoritative(name, type, ctx),
        probe.resolvers(name, type, ctx),
      ]);
      const as = (who: Said['who']) => (answer: DnsAnswer) => ({ ...answer, who, site: siteOf(target, answer) });
      const answers = [as('zone')(held), ...authoritative.map(as('name server')), ...resolvers.map(as('resolver'))];
      return { name, type, ttlSeconds, answers };
    }),
  );
}

function siteOf({ type, valuesBySite }: DnsTarget, answer: DnsAnswer): string | null {
  return Object.entries(valuesBySite).find(([, values]) => hasValues(answer, type, values))?.[0] ?? null;
}

export function dnsLines(names: readonly NameSaid[]): string[] {
  const rows = names.flatMap((each) =>
    each.answers.map(({ who, server, values, ttlSeconds, problem, site }) => [
      recordLabel(each),
      who,
      server,
      problem ?? values.join(', '),
      ttlSeconds === null ? '-' : `${ttlSeconds} s`,
      site ?? '-',
    ]),
  );
  return tableLines(['name', 'asked', 'server', 'answers', 'ttl', 'site'], rows);
}

/** Reads `--to`. Throws UsageInvalid for what is no TTL. */
export function ttlSecondsOf(text: string): number {
  const seconds = parseDurationMilliseconds(text) / 1_000;
  if (Number.isInteger(seconds) && seconds >= 1) return seconds;
  throw failure('UsageInvalid', `--to is "${text}"; a TTL is whole seconds, at least 1s`);
}

/** Lowers the TTLs of every name, or (null) restores them. Answers the exit code. */
export async function changeTtls(session: Session, ttlSeconds: number | null, detach: boolean): Promise<number> {
  const { application, io } = session;
  const workflowId = workflowIds.timeToLive(application);
  const input: ChangeTtlInput = { application, ttlSeconds, requestedBy: io.user };
  const what = ttlSeconds === null ? 'restore the TTLs' : `lower the TTLs to ${ttlSeconds} s`;
  const summary = `${what} of ${application} (${io.user})`;
  const handle = await startRun(session, { workflowId, type: 'changeTtl', input, summary });
  if (detach) {
    printDetached(session, workflowId, backTo(workflowId));
    return 0;
  }
  return follow<ChangeTtlResult>(session, handle, {
    back: backTo(workflowId),
    lines: (result) => ttlLines(result, ttlSeconds !== null),
  });
}

function ttlLines({ names }: ChangeTtlResult, lowered: boolean): string[] {
  if (names.length === 0) return ['No TTL was lowered.'];
  return names.map((each) =>
    lowered
      ? `${recordLabel(each)}: ${each.ttlSeconds} s instead of ${each.previousTtlSeconds} s; switch over after ${shortTime(each.effectiveAt)}`
      : `${recordLabel(each)}: ${each.ttlSeconds} s again`,
  );
}
