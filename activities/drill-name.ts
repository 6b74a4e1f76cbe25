import type { CallContext } from '../core/call';
import type { DrillName } from '../core/drill';
import { failure } from '../core/errors';
import { type DnsAnswer, type DnsRecord, hasValues } from '../core/traffic';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { answeredEverywhere, inSync, zoneOf } from './dns';
import { poll } from './poll';

export interface PointedName {
  readonly answers: readonly DnsAnswer[];
  readonly seconds: number;
}

/** The isolated name of a drill: made, moved, and taken away again. No other record is ever written. */
export function createDrillNameActivities(deps: ActivityDeps) {
  return {
    /**
     * Points the isolated name to what stands for the lost site, or to the bubble, and waits until every authoritative server
     * answers so. Throws TargetNotEmpty for a record that no drill has made.
     */
    async pointDrillName(input: { application: string; to: 'before' | 'values' }): Promise<PointedName> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const name = nameOf(open);
        const beganAt = Date.now();
        await ownRecord(open, name, ctx);
        const { type, ttlSeconds } = name;
        const wanted: DnsRecord = { name: name.name, type, ttlSeconds, values: name[input.to] };
        const changeId = await zoneOf(open).upsert(wanted, ctx);
        const answers = await answeredEverywhere(open, wanted, changeId, ctx);
        return { answers, seconds: (Date.now() - beganAt) / 1_000 };
      });
    },

    /** Removes the isolated name, and waits until no authoritative server knows it any more. */
    async withdrawDrillName(input: { application: string }): Promise<void> {
      await withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const name = nameOf(open);
        const zone = zoneOf(open);
        const record = await ownRecord(open, name, ctx);
        const changeId = record && (await zone.remove(record, ctx));
        if (changeId !== null) await inSync(zone, changeId, name.name, ctx);
        await poll(async () => {
          const answers = await open.probe.authoritative(name.name, name.type, ctx);
          const known = answers.filter((answer) => !isAbsent(answer));
          ctx.progress({ phase: `waiting until ${name.name} is gone`, totalItems: known.length });
          return known.length === 0 ? true : null;
        }, ctx);
      });
    },
  };
}

/** A server that does not answer is no proof that the name is gone. */
const isAbsent = ({ problem, values }: DnsAnswer) =>
  values.length === 0 && /^(answers NXDOMAIN|has no) /.test(problem ?? '');

/** The record of the isolated name as a drill made it; null where there is none. */
async function ownRecord(open: OpenApplication, name: DrillName, ctx: CallContext): Promise<DnsRecord | null> {
  const record = await zoneOf(open).record(name.name, name.type, ctx);
  if (record === null) return null;
  const { values, ttlSeconds, type } = record;
  const answer = { server: 'zone', values, ttlSeconds, problem: null };
  if ([name.before, name.values].some((ours) => hasValues(answer, type, ours))) return record;
  throw failure(
    'TargetNotEmpty',
    `${name.name} ${type} is in the zone with ${values.join(', ')}, which no drill has put there`,
    {
      data: 'The record was left as it is.',
      next: 'Give `drill.name` a name that nobody uses, or remove the record yourself.',
    },
  );
}

export function nameOf({ application }: OpenApplication): DrillName {
  if (application.drill.name) return application.drill.name;
  throw failure('ConfigInvalid', `${application.name} has no drill.name in its config`);
}
