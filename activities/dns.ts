import { setTimeout as sleep } from 'node:timers/promises';
import type { DnsTarget } from '../core/application';
import type { CallContext } from '../core/call';
import type { LoweredTtl, MovedName } from '../core/dns-moves';
import { failure } from '../core/errors';
import { type DnsAnswer, type DnsRecord, type DnsZone, hasValues } from '../core/traffic';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { forgetLoweredTtl, keepLoweredTtl, readLoweredTtl } from './lowered-ttl';

/** Often enough that waiting adds little to an outage, seldom enough that nobody is flooded. */
const POLL_MILLISECONDS = 200;
/** Route 53 allows five requests a second for a whole account; others ask too. */
const CONTROL_PLANE_POLL_MILLISECONDS = 1_000;
/** Looks at the name servers between two looks whether somebody else has written the record meanwhile. */
const LOOKS_BEFORE_READING_AGAIN = 25;

export interface DnsStep {
  readonly application: string;
  readonly target: DnsTarget;
  readonly epoch: number;
}

export interface DnsLook {
  readonly authoritative: readonly DnsAnswer[];
  readonly resolvers: readonly DnsAnswer[];
}

/** The public names: pointing them to a site, watching them settle, lowering their TTLs beforehand. */
export function createDnsActivities(deps: ActivityDeps) {
  return {
    /**
     * Sets the record to the site's values, waits until the zone's control plane says INSYNC, then until every
     * authoritative server really answers so. Sets it again where somebody else has overwritten it meanwhile. A TTL that was
     * lowered for the move stays lowered.
     */
    async pointDns(input: DnsStep & { readonly site: string }): Promise<MovedName> {
      return withCallContext<MovedName, Change>(async (ctx, resume) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { target, site } = input;
        const values = target.valuesBySite[site];
        if (!values) throw failure('ConfigInvalid', `no DNS values of ${target.name} for site ${site} are configured`);
        const zone = zoneOf(open);
        const lowered = await readLoweredTtl(open.control, target);
        const wanted = { ...target, values, ttlSeconds: lowered?.ttlSeconds ?? target.ttlSeconds };
        const change = resume.state ?? (await set(zone, wanted, ctx));
        resume.keep(change);
        const answers = await answeredEverywhere(open, wanted, change.changeId, ctx);
        const changedAt = new Date();
        const oldTtlSeconds = change.before?.ttlSeconds ?? Math.max(target.ttlSeconds, wanted.ttlSeconds);
        // Who asked before the lowering may hold the record for as long as it said then.
        const beforeLowering = lowered?.effectiveAt
          ? Date.parse(lowered.effectiveAt)
          : changedAt.getTime() + (lowered?.previousTtlSeconds ?? 0) * 1_000;
        const staleUntil = Math.max(changedAt.getTime() + oldTtlSeconds * 1_000, beforeLowering);
        return {
          target,
          answers,
          changedAt: changedAt.toISOString(),
          previousTtlSeconds: change.before?.ttlSeconds ?? null,
          staleUntil: new Date(staleUntil).toISOString(),
        };
      });
    },

    /** What every authoritative server and every configured resolver answers now. Throws StaleEpoch after a newer role change. */
    async lookAtDns(input: DnsStep): Promise<DnsLook> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { name, type } = input.target;
        const [authoritative, resolvers] = await Promise.all([
          open.probe.authoritative(name, type, ctx),
          open.probe.resolvers(name, type, ctx),
        ]);
        return { authoritative, resolvers };
      });
    },

    /**
     * Lowers the record's TTL ahead of a move, its values untouched, and waits until every authoritative server answers with
     * it. What it was is kept in the control repository before anything is changed. Refuses where the zone says something
     * else than the config has for the active site: then a TTL is the least that is wrong.
     */
    async lowerTtl(input: DnsStep & { readonly ttlSeconds: number; readonly by: string }): Promise<LoweredTtl> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { target, ttlSeconds, by, epoch } = input;
        await requireEpoch(open, epoch);
        const before = await recordOfActiveSite(open, target, ctx);
        const known = await readLoweredTtl(open.control, target);
        const previousTtlSeconds = known?.previousTtlSeconds ?? before.ttlSeconds;
        if (ttlSeconds >= previousTtlSeconds) {
          throw failure(
            'UsageInvalid',
            `the TTL of ${target.name} ${target.type} is ${previousTtlSeconds} s: ${ttlSeconds} s is not lower`,
          );
        }
        const { name, type } = target;
        const loweredAt = known?.loweredAt ?? new Date().toISOString();
        const note = { name, type, previousTtlSeconds, ttlSeconds, loweredAt, by };
        await keepLoweredTtl(open.control, { ...note, effectiveAt: null });
        await changeTtl(open, { ...before, ttlSeconds }, epoch, ctx);
        // Whoever asked before the first lowering holds the record for as long as it said then, whatever came after.
        const inSeconds = (seconds: number) => new Date(Date.now() + seconds * 1_000).toISOString();
        const earlier = known?.effectiveAt ?? inSeconds(previousTtlSeconds);
        // One that is repeated, because its answer was lost, is effective when the first was.
        const repeated = known?.ttlSeconds === ttlSeconds && before.ttlSeconds === ttlSeconds;
        const effective = { ...note, effectiveAt: repeated ? earlier : later(earlier, inSeconds(before.ttlSeconds)) };
        await keepLoweredTtl(open.control, effective);
        return effective;
      });
    },

    /** Gives the record the TTL back that it had before it was lowered, whatever its values are now. Null where it was not lowered. */
    async restoreTtl(input: DnsStep): Promise<LoweredTtl | null> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { target, epoch } = input;
        const known = await readLoweredTtl(open.control, target);
        if (!known) return null;
        const record = await recordOfActiveSite(open, target, ctx);
        await changeTtl(open, { ...record, ttlSeconds: known.previousTtlSeconds }, epoch, ctx);
        await forgetLoweredTtl(open.control, target);
        return known;
      });
    },
  };
}

interface Change {
  readonly changeId: string;
  /** The record before; null where there was none, or where it had the wanted values already. */
  readonly before: DnsRecord | null;
}

export async function set(zone: DnsZone, wanted: DnsRecord, ctx: CallContext): Promise<Change> {
  const { name, type, ttlSeconds, values } = wanted;
  const before = await zone.record(name, type, ctx);
  const changeId = await zone.upsert({ name, type, ttlSeconds, values }, ctx);
  return { changeId, before: before && sameValues(before, wanted) ? null : before };
}

function sameValues(record: DnsRecord, { type, values }: Pick<DnsRecord, 'type' | 'values'>): boolean {
  const answer = { server: 'zone', values: record.values, ttlSeconds: record.ttlSeconds, problem: null };
  return hasValues(answer, type, values);
}

/** Resolves with the answers when each of them has the values that are wanted, and whatever else `also` asks of it. */
export async function answeredEverywhere(
  open: OpenApplication,
  wanted: DnsRecord,
  firstChangeId: string,
  ctx: CallContext,
  also: (answer: DnsAnswer) => boolean = () => true,
): Promise<DnsAnswer[]> {
  const { name, type, values } = wanted;
  const zone = zoneOf(open);
  await inSync(zone, firstChangeId, name, ctx);
  for (let looks = 1; ; looks += 1) {
    const answers = await open.probe.authoritative(name, type, ctx);
    const changed = answers.filter((answer) => hasValues(answer, type, values) && also(answer));
    if (answers.length > 0 && changed.length === answers.length) return answers;
    ctx.progress({ phase: `waiting for the name servers`, doneItems: changed.length, totalItems: answers.length });
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
    if (looks % LOOKS_BEFORE_READING_AGAIN !== 0) continue;
    const now = await zone.record(name, type, ctx);
    if (!now || !sameValues(now, wanted)) await inSync(zone, (await set(zone, wanted, ctx)).changeId, name, ctx);
  }
}

export async function inSync(zone: DnsZone, changeId: string, name: string, ctx: CallContext): Promise<void> {
  while (!(await zone.inSync(changeId, ctx))) {
    ctx.progress({ phase: `waiting for ${name} to be in sync` });
    await sleep(CONTROL_PLANE_POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}

async function recordOfActiveSite(open: OpenApplication, target: DnsTarget, ctx: CallContext): Promise<DnsRecord> {
  const { name, type, valuesBySite } = target;
  const active = (await open.epochs.current())?.activeSite ?? open.application.initialSite;
  const record = await zoneOf(open).record(name, type, ctx);
  if (!record) throw failure('NotFound', `the zone has no ${type} record for ${name}`);
  const expected = valuesBySite[active] ?? [];
  if (sameValues(record, { type, values: expected })) return record;
  throw failure(
    'RoleMismatch',
    `${name} ${type} is ${record.values.join(', ')} in the zone; ${active} is active, and the config has ${expected.join(', ')} for it`,
    { next: 'Correct the record or the config first; `drctl dns show` asks everybody.' },
  );
}

/**
 * The epoch is compared last of all before the write: a role change moves the names only after its fences and promotions,
 * long after a request sent now has been refused or answered. `pointDns` would overwrite one that came late all the same.
 */
async function changeTtl(open: OpenApplication, record: DnsRecord, epoch: number, ctx: CallContext): Promise<void> {
  await requireEpoch(open, epoch);
  const changeId = await zoneOf(open).upsert(record, ctx);
  await answeredEverywhere(open, record, changeId, ctx, (answer) => answer.ttlSeconds === record.ttlSeconds);
}

export function zoneOf({ zone, application }: OpenApplication): DnsZone {
  if (!zone) throw failure('ConfigInvalid', `${application.name} has no dns in its config`);
  return zone;
}

const later = (one: string, other: string) => (one > other ? one : other);
