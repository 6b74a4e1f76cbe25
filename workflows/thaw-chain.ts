import { sleep } from '@temporalio/workflow';
import type { Thaw } from '../activities/thaw';
import { formatDuration } from '../core/clock';
import { failure, hasCode } from '../core/errors';
import { beganAt } from '../core/layout';
import type { RestorePlan } from '../core/recovery';
import {
  expectedSeconds,
  type FrozenLook,
  isThawed,
  thawDeadlineSeconds,
  thawNote,
  thawProgress,
  untilNextLook,
} from '../core/thaw';
import { persevering } from './persevering';
import type { StepTable } from './step-table';

interface Archive {
  askBack(thaw: Thaw): Promise<FrozenLook | null>;
}

/**
 * Asks for what lies in archive classes and waits until all of it can be read: a timer of the server, so that two days of
 * waiting cost a worker nothing and outlive it. Throws ObjectFrozen when it takes days longer than S3 promises.
 */
export async function thawChain(steps: StepTable, archive: Archive, thaw: Thaw): Promise<void> {
  const { store } = thaw;
  const id = `thaw:${store}`;
  const beganWaiting = Date.now();
  const waited = () => (Date.now() - beganWaiting) / 1_000;
  await steps.run(
    id,
    `Ask ${store} back from the archive and wait for it`,
    async () => {
      for (let looks = 0; ; looks += 1) {
        const look = await persevering(steps, store, () => archive.askBack(thaw));
        if (look === null || isThawed(look)) return look;
        const within = expectedSeconds(Object.keys(look.byClass), thaw.settings?.tier ?? 'bulk');
        if (waited() > thawDeadlineSeconds({ expectedSeconds: within })) throw notComing(thaw, look, waited());
        const pause = untilNextLook(looks);
        const until = new Date(beganWaiting + within * 1_000).toISOString().slice(0, 16);
        const next = formatDuration(pause * 1_000);
        steps.renew(id, `${thawProgress(look)}; all of it by ${until}Z; next look in ${next}`);
        await sleep(pause * 1_000);
      }
    },
    (look) => (look === null ? 'all of it can be read at once' : `${thawProgress(look)} until ${look.readableUntil}`),
  );
}

function notComing({ store, chain }: Thaw, look: FrozenLook, seconds: number): Error {
  return failure(
    'ObjectFrozen',
    `${store} did not come back from the archive in ${formatDuration(seconds * 1_000)}: ${thawProgress(look)}`,
    {
      next: 'Ask S3 why (its status page, the support), then start the restore again: what has come by then is used.',
      context: { store, chain: chain.join(' + ') },
    },
  );
}

/** Copies go again after their days, and log may lie in the archive by somebody else's rule: then it is asked for once more. */
const TRIES = 3;

/** What is restored of one store, from the copy where one is named. */
interface Restored {
  readonly application: string;
  readonly store: string;
  readonly plan: RestorePlan;
  readonly copy?: string;
}

/** Reads with what lies in an archive class asked back first, where that is wanted; else throws ObjectFrozen beforehand. */
export async function readingThawed<T>(
  steps: StepTable,
  archive: Archive,
  restored: Restored,
  isWanted: boolean,
  read: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await read();
    } catch (error) {
      if (!isWanted || !hasCode(error, 'ObjectFrozen') || tries >= TRIES) throw error;
      steps.say(`${restored.store} has something in the archive that has to be read: it is asked back`);
      await thawChain(steps, archive, thawOf(restored, true));
    }
  }
}

/** The log is looked through only where something of it was met that could not be read: there may be a million pieces. */
export function thawOf({ application, store, plan, copy }: Restored, withLog: boolean): Thaw {
  const { chain, thaw } = plan;
  const log = withLog
    ? { from: beganAt(chain[0] ?? '') - DAY_MILLISECONDS, to: Date.parse(plan.reaches.time) + DAY_MILLISECONDS }
    : null;
  const settings = thaw ? { tier: thaw.tier, days: thaw.days } : null;
  return { application, store, chain, log, settings, ...(copy === undefined ? {} : { copy }) };
}

/** A backup's log begins before it, and what was stored in pieces is stored again as a whole later. */
const DAY_MILLISECONDS = 86_400_000;

/** Throws ObjectFrozen for a plan that would have to wait where nobody asked for that. */
export function requireAtOnce(store: string, { thaw }: RestorePlan): void {
  if (!thaw || isThawed(thaw)) return;
  throw failure('ObjectFrozen', `${store} cannot be read at once: ${thawNote(thaw)}`, {
    data: 'Nothing was asked for and nothing was restored.',
    next: '`drctl restore` asks it back and waits; `drctl verify` does so with --thaw. A drill is to see what can be had at once.',
  });
}
