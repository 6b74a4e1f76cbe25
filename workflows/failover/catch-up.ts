import { named, roleChangeSteps } from '../../core/role-change-steps';
import { catchingUp } from '../proxies';
import type { FailoverRun } from './run';

/**
 * What the log archive has and the standby has not was acknowledged to somebody: it is replayed before the promotion, while
 * everything can still return. All stores at once, each to its end, so that nothing is still at work when an undo begins.
 */
export async function catchUp(run: FailoverRun): Promise<void> {
  const { app, site, epoch } = run;
  const stores = app.stores.filter(({ catchesUp }) => catchesUp).map(({ name }) => name);
  if (stores.length === 0) return;
  run.steps.enter('catching up');
  const { catchUpSeconds: withinSeconds } = app.failover;
  const within = catchingUp(app.name, site, withinSeconds);
  const ended = await Promise.allSettled(
    stores.map(async (store) => {
      run.undo.unshift({
        ...named(roleChangeSteps.undoCatchUp(store, site)),
        work: async () =>
          (await run.at.leaveArchive({ application: app.name, store, site })) ? 'it is' : 'nothing had to be mended',
      });
      await run.control.step(
        ...roleChangeSteps.catchUp(store, site),
        () => within.catchUpStore({ application: app.name, store, site, epoch, withinSeconds }),
        ({ how }) => how,
      );
    }),
  );
  const failed = ended.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
}
