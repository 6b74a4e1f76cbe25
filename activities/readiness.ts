import { dayOf, type ReadinessDay, withReadiness } from '../core/day-records';
import { layout } from '../core/layout';
import { check, type KeptReadiness, type ReadinessCheck } from '../core/readiness';
import { judgeApprovers, judgeChannels } from '../core/readiness-judgements';
import { withCallContext } from './context';
import { changeDay } from './day-records';
import type { ActivityDeps } from './deps';
import {
  checkBackups,
  checkControlRepository,
  checkFence,
  checkFiles,
  checkNames,
  checkServices,
  checkStandby,
  type ReadinessInput,
} from './readiness-looks';
import { checkCapacity } from './readiness-capacity';
import { readKeptReadiness } from './observe-application';
import { checkHooks } from './readiness-hooks';
import { checkOldPrimary, checkOldServices } from './readiness-old-site';
import { readSamples } from './sample-log';

/** Every activity here changes nothing but its own notes in the control repository, and answers what is wrong instead of throwing. */
export function createReadinessActivities(deps: ActivityDeps) {
  return {
    /** Each store: does its standby follow, could it be promoted, what would be lost; could its old primary be fenced and hand over; are its files there. */
    async checkStandbys(input: ReadinessInput): Promise<ReadinessCheck[]> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const stores = open.application.stores.filter(({ hasReplication }) => hasReplication);
        const files = open.application.stores.filter(({ engine }) => engine === 'files');
        // Read once, asked of for each store: without them the loss of none is known.
        const samples = readSamples(open.control);
        samples.catch(() => undefined);
        const both = stores.flatMap((store) => [
          checkStandby(open, store, input, samples, ctx),
          checkOldPrimary(open, store, input, ctx),
        ]);
        const there = files.map((store) => checkFiles(open, store, input, ctx));
        return (await Promise.all([...both, ...there])).flat();
      });
    },

    /** Services that would be started and stopped, the records that would be moved, their name servers. */
    async checkTraffic(input: ReadinessInput): Promise<ReadinessCheck[]> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const looks = await Promise.all([
          checkServices(open, input, ctx),
          checkOldServices(open, input, ctx),
          checkNames(open, input.fromSite, ctx),
          checkCapacity(open, input, ctx),
        ]);
        return looks.flat();
      });
    },

    /** Who decides, who is told, what fences, and the repositories as they are seen from here. */
    async checkControl(input: ReadinessInput): Promise<ReadinessCheck[]> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { failover, stores } = open.application;
        const backups = stores.map(({ name }) => checkBackups(open, name, input, ctx));
        return [
          check('approvers', 'Who may approve', judgeApprovers(failover)),
          check('channels', 'Who is told', judgeChannels(open.notifiers.map(({ name }) => name))),
          ...(await Promise.all([checkFence(open, input, ctx), checkControlRepository(open, input, ctx), ...backups])),
          ...(await checkHooks(open, { at: 'new' }, ctx)),
        ];
      });
    },

    /** What the old site's worker would be asked to run: the only look that is taken from there. */
    async checkOldHooks(input: ReadinessInput): Promise<ReadinessCheck[]> {
      return withCallContext(async (ctx) => {
        return checkHooks(deps.open(input.application), { at: 'old', planned: input.planned ?? false }, ctx);
      });
    },

    /** What the look before this one was kept as; null before the first. Throws BackupCorrupt where that is damaged: it may be replaced. */
    async lastReadiness(input: { application: string; site: string }): Promise<KeptReadiness | null> {
      return withCallContext(async () => {
        return readKeptReadiness(deps.open(input.application), input.site);
      });
    },

    /** Keeps the newest look, and a count of the day's, where it outlives the other site. Repeatable. */
    async keepReadiness(input: { application: string; site: string; kept: KeptReadiness }): Promise<string> {
      return withCallContext(async () => {
        const key = layout.readiness(input.site);
        const text = `${JSON.stringify(input.kept, null, 2)}\n`;
        const { control } = deps.open(input.application);
        await control.put(key, Buffer.from(text));
        const { result } = input.kept;
        const what = `readiness-${input.site}`;
        await changeDay<ReadinessDay>(control, dayOf(result.at), what, (day) => withReadiness(day, result));
        return key;
      });
    },
  };
}
