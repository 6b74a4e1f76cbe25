import { drillPlace } from '../../core/drill';
import { formatDuration } from '../../core/clock';
import { type ChosenInstant, instantLine, newestAgeSeconds } from '../../core/restorable-instant';
import { failure, reasonOf } from '../../core/errors';
import type { StoreSummary } from '../../core/application';
import { wasCancelled } from '../step-table';
import { drillingOn } from '../proxies';
import { chooseInstant, compareHeartbeat, targetAt } from '../restorable-instant';
import { restoreStore } from '../restore-stores';
import { type Copy, type DrillRun, type Found } from './run';

/**
 * Stage 2: every store to one instant, which chance chooses, from the repository alone into scratch places, all of it read and
 * checked. One after the other: a rehearsal must not take the disk and the processors that a real restore might need. What has
 * a server stays for the stages after this one; what has none goes at once.
 */
export async function recoverStores(run: DrillRun): Promise<Found> {
  const good: string[] = [];
  const bad: string[] = [];
  const instant = await chooseInstant(run.steps, {
    application: run.app.name,
    stores: run.app.stores.map(({ name }) => name),
    // Any number that is recorded will do; this one is in the names of the copies as well.
    seed: Number.parseInt(run.drillId, 16),
  });
  for (const store of run.app.stores) {
    try {
      good.push(await recoverStore(run, store, instant));
    } catch (error) {
      if (wasCancelled(error)) throw error;
      bad.push(`${store.name}: ${reasonOf(error)}`);
    }
  }
  if (bad.length > 0) throw failure('VerificationFailed', bad.join('; '));
  return `${instantLine(instant)}: ${good.join(', ')}`;
}

async function recoverStore(
  run: DrillRun,
  { name: store, hasLog, rpoSeconds }: StoreSummary,
  instant: ChosenInstant,
): Promise<string> {
  const { app, steps, host, drillId } = run;
  const application = app.name;
  const beganAt = Date.now();
  const { plans, checked } = await steps.run(
    `plan:${store}`,
    `Choose what restores ${store}`,
    () => host.planRestores({ application, target: targetAt(instant), stores: [store] }),
    (planned) => planned.plans.map(({ reaches }) => reaches.time).join(),
  );
  const [plan] = plans;
  if (!plan) throw failure('NotFound', `no plan was made for store ${store}`);
  const place = await host.scratchPlace({ application, store, name: drillPlace(application, drillId) });
  const restore = { application, restoreId: `drill-${drillId}`, store, plan, place };
  const copy: Copy = { restore, restored: null };
  run.copies.set(store, copy);
  const { restored } = await restoreStore(steps, restore, run.hostQueue, {
    checked: checked?.includes(store) ?? false,
  });
  copy.restored = restored;
  const usable = usableSeconds(run, store, beganAt);
  const ofTime = hasLog ? await compareHeartbeat(steps, run.hostQueue, restore, restored) : null;
  if (restored.address === null) await discardCopy(run, store);
  if (ofTime?.problem) throw notHeld(ofTime.problem);
  const reached = restored.reachedTime ?? plan.reaches.time;
  const lossSeconds = newestAgeSeconds(instant, store) ?? Math.max(0, (beganAt - Date.parse(reached)) / 1_000);
  const { rtoSeconds } = app.objectives;
  if (usable > rtoSeconds)
    throw notHeld(`it took ${text(usable)} until it could be used; the RTO is ${text(rtoSeconds)}`);
  // Of a store without a log the newest state is that of its backup, whose age is for the health check.
  if (hasLog && lossSeconds > rpoSeconds)
    throw notHeld(`its newest state was ${text(lossSeconds)} old; the RPO is ${text(rpoSeconds)}`);
  return `${store} in ${text(usable)}`;
}

const text = (seconds: number) => formatDuration(seconds * 1_000);
const notHeld = (why: string) => failure('VerificationFailed', why);

/** Until it could be used: reading all of it afterwards is the test's own. */
function usableSeconds({ steps }: DrillRun, store: string, beganAt: number): number {
  const opened = steps.steps.find(({ id }) => id === `open:${store}`)?.finishedAt;
  return ((opened ? Date.parse(opened) : Date.now()) - beganAt) / 1_000;
}

/**
 * Starts the server of a copy again where it does not run any more, at the port that is known; it recovers by itself. Nobody
 * watches over a copy but the drill, and it dies with the worker's host.
 */
export async function openCopy(run: DrillRun, { restore, restored }: Copy, withinSeconds: number): Promise<void> {
  const place = { ...restore.place, port: restored?.address?.port ?? restore.place.port };
  await drillingOn(run.hostQueue, withinSeconds).openStore({ ...restore, place });
}

/** Ends the copy's server and removes its place; fine where nothing of it was made. */
export async function discardCopy(run: DrillRun, store: string): Promise<void> {
  const copy = run.copies.get(store);
  if (!copy) return;
  const { application, place } = copy.restore;
  await run.steps.run(`discard:${store}`, `Remove the restored ${store}`, () =>
    run.host.discardRestore({ application, store, place }),
  );
  run.copies.delete(store);
}
