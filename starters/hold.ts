import { setTimeout as sleep } from 'node:timers/promises';
import type { OpenApplication } from '../activities/deps';
import { failure } from '../core/errors';
import type { Hold } from '../core/retention/records';
import type { Session } from './session';

/** Nothing is believed of a sweep for as long as this without a new look at the holds (core/retention/sweep-claim.ts). */
const SEEN_WITHIN_MILLISECONDS = 5 * 60_000;
const LOOK_MILLISECONDS = 1_000;

/**
 * Puts a hold on a backup, and answers once it is certain to hold: a deletion that was under way may have looked for holds
 * before. Throws NotFound where it came too late.
 */
export async function putHold(session: Session, hold: Hold): Promise<void> {
  const { store, backupId } = hold;
  const open = await session.open();
  await open.retentionStore(store).hold(hold);
  await seenByDeletions(session, open, hold);
  const all = await open.catalog(store).list(store);
  const byId = new Map(all.map((each) => [each.backupId, each]));
  for (let each = backupId; ; each = byId.get(each)?.parent as string) {
    const found = byId.get(each);
    if (!found) throw await tooLate(open, hold);
    if (found.parent === null) return;
  }
}

async function seenByDeletions(session: Session, open: OpenApplication, { store, backupId }: Hold): Promise<void> {
  const stored = open.retentionStore(store);
  const since = performance.now();
  const waited = () => performance.now() - since;
  for (let said = false; (await stored.sweepsUnawareOf({ holdOn: backupId }, waited())).length > 0; said = true) {
    if (!said) session.io.note('retention is deleting at the moment: waiting until it has seen the hold');
    if (waited() > SEEN_WITHIN_MILLISECONDS) {
      throw failure('LockHeld', `retention has been deleting from ${store} for minutes`, {
        data: 'The hold is written down. Whether it came in time is not known yet.',
        next: 'Look at `drctl backups list` when the run has ended (`drctl runs list`).',
      });
    }
    await sleep(LOOK_MILLISECONDS);
  }
}

async function tooLate(open: OpenApplication, { store, backupId, by }: Hold): Promise<Error> {
  const release = { backupId, by, reason: 'it came too late', at: new Date().toISOString() };
  await open.retentionStore(store).release(release);
  return failure('NotFound', `${backupId} of ${store} was deleted by retention before the hold was there`, {
    data: 'The backup, or one that it builds on, does not exist any more.',
    next: 'See with `drctl backups list` what there is.',
  });
}
