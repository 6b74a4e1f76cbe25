import type { CallContext } from '../core/call';
import type { Manifest } from '../core/catalog';
import { hasCode } from '../core/errors';
import type { RestoredStore, RestorePlan } from '../core/recovery';
import { type ChosenInstant, chooseInstant, commonRanges, type InstantRange } from '../core/restorable-instant';
import type { HeartbeatFound } from '../core/restored-heartbeat';
import { withCallContext } from './context';
import { atCopy } from './copies';
import type { ActivityDeps, OpenApplication } from './deps';
import { manifestsOf } from './plan-restore';
import { announceUse } from './uses';
import { readableAtOnce } from './verify';

/** No instant of any backup comes after it. */
const ALWAYS = '9999-12-31T00:00:00.000Z';

/** Tests of recovery go to an instant that chance chooses, and look for what was recorded about it. */
export function createRestorableInstantActivities(deps: ActivityDeps) {
  return {
    /**
     * Chooses one instant to which all of the stores can be restored at once, and keeps retention from what that needs until
     * their restores are planned. Stores without a log only have to have a backup before it.
     */
    async chooseInstant(input: {
      application: string;
      stores: readonly string[];
      seed: number;
      copy?: string;
    }): Promise<ChosenInstant> {
      return withCallContext(async (ctx) => {
        const open = atCopy(deps.open(input.application), input.copy);
        let from: readonly InstantRange[] = [{ from: '', to: ALWAYS }];
        const newest: Record<string, string> = {};
        const at = new Date().toISOString();
        for (const store of input.stores) {
          await announceUse(open, store, { kind: 'proof', backups: [] }, ctx);
          const ranges = await rangesOf(open, store, ctx);
          const last = ranges.reduce((until, { to }) => (to > until ? to : until), '');
          if (open.logArchive(store) && last !== '') newest[store] = last;
          from = commonRanges(from, ranges);
        }
        // Without a log there is nothing between two backups that could be chosen.
        if (Object.keys(newest).length === 0) from = [];
        return { time: chooseInstant(from, input.seed), seed: input.seed, at, from, newest };
      });
    },

    /**
     * What the restored copy holds of the row that the archiver writes each second, and what the archive noted of it. Null for
     * a store that has none, or had none at that time.
     */
    async readHeartbeat(input: {
      application: string;
      store: string;
      copy?: string;
      plan: RestorePlan;
      restored: RestoredStore;
    }): Promise<HeartbeatFound | null> {
      return withCallContext(async (ctx) => {
        const { store, plan } = input;
        const open = atCopy(deps.open(input.application), input.copy);
        const { heartbeat } = open.engine(store);
        const log = open.logArchive(store);
        if (!heartbeat || !log || plan.target.kind !== 'time') return null;
        const at = await heartbeat.in(input.restored, ctx);
        const backups = await manifestsOf(open.catalog(store), store, plan.chain);
        const noted = (await heartbeat.notedBefore?.(plan.target.time, plan, { backups, log })) ?? null;
        return at === null && noted === null ? null : { at, noted };
      });
    },
  };
}

async function rangesOf(open: OpenApplication, store: string, ctx: CallContext): Promise<InstantRange[]> {
  const all = await open.catalog(store).list(store);
  const backups = await readableAtOnce(open, store, all);
  const log = open.logArchive(store);
  if (!log) return sinceUnbroken(all, backups);
  try {
    return await open.engine(store).windows({ backups, log });
  } catch (error) {
    // The restore itself will say so: it needs what is damaged, too.
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    ctx.log.warn({ store }, 'nothing but the newest state is chosen: what can be restored cannot be read');
    return [];
  }
}

/** From the first backup on behind which none lies in an archive class: the nearest one before an instant is restored. */
function sinceUnbroken(all: readonly Manifest[], readable: readonly Manifest[]): InstantRange[] {
  const atOnce = new Set(readable.map(({ backupId }) => backupId));
  const unbroken = all.slice(all.findLastIndex(({ backupId }) => !atOnce.has(backupId)) + 1);
  return unbroken.slice(0, 1).map(({ consistentAt }) => ({ from: consistentAt, to: ALWAYS }));
}
