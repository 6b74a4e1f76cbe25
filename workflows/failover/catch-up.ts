import { named, roleChangeSteps, type StepName } from '../../core/role-change-steps';
import { catchingUp } from '../proxies';
import type { FailoverRun } from './run';

/**
 * What the log archive has and the standby has not was acknowledged to somebody: it is replayed before the promotion, while
 * everything can still return. All stores at once, each to its end, so that nothing is still at work when an undo begins.
 */
export async function catchUp(run: FailoverRun): Promise<void> {
  const { app, site } = run;
  const stores = app.stores.filter(({ catchesUp }) => catchesUp).map(({ name }) => name);
  if (stores.length === 0) return;
  run.steps.enter('catching up');
  const ended = await Promise.allSettled(
    stores.map(async (store) => {
      run.undo.unshift({
        ...named(roleChangeSteps.undoCatchUp(store, site)),
        work: async () =>
          (await run.at.leaveArchive({ application: app.name, store, site })) ? 'it is' : 'nothing had to be mended',
      });
      await takeFromArchive(run, store, roleChangeSteps.catchUp(store, site));
    }),
  );
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
}

/**
 * Behind the pivot: the server that was caught up may be gone by then, and the one that is promoted in its place has to get
 * the same. Nothing where people had skipped it for the first one.
 */
export async function catchUpInstead(run: FailoverRun, store: string, server: string): Promise<void> {
  const before = run.caughtUp.get(store);
  if (before === undefined || before === server) return;
  await takeFromArchive(run, store, roleChangeSteps.catchUpInstead(store, server));
}

async function takeFromArchive(run: FailoverRun, store: string, name: StepName): Promise<void> {
  const { app, site, epoch } = run;
  const { catchUpSeconds: withinSeconds } = app.failover;
  const { catchUpStore } = catchingUp(app.name, site, withinSeconds);
  const done = await run.control.step(
    ...name,
    () => catchUpStore({ application: app.name, store, site, epoch, withinSeconds }),
    ({ how }) => how,
  );
  if (done) run.caughtUp.set(store, done.server);
}
