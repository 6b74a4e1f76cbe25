import { reasonOf } from '../../core/errors';
import { fileStores } from '../../core/role-change-plan';
import { roleChangeSteps } from '../../core/role-change-steps';
import { roleChangeBriefly } from '../proxies';
import { wasCancelled } from '../step-table';
import type { FailoverRun } from './run';

/** Services that miss their files do not become ready, and say so themselves: this says why, and holds nothing up. */
export async function seeFiles(run: FailoverRun): Promise<void> {
  const { app, site } = run;
  await Promise.all(
    fileStores(app).map(async (store) => {
      const [id, title] = roleChangeSteps.files(store, site);
      const look = () => roleChangeBriefly(app.name, site).lookAtFiles({ application: app.name, store, site });
      try {
        await run.control.clearance();
        const { problems } = await run.steps.run(id, title, look, (found) => found.problems.join('; ') || 'they are');
        if (problems.length > 0) run.steps.say(`files of ${store} at ${site}: ${problems.join('; ')}`);
      } catch (error) {
        if (wasCancelled(error)) throw error;
        run.steps.mark(id, 'skipped', `unknown: ${reasonOf(error)}`);
        run.steps.say(`whether the files of ${store} are at ${site} is unknown: ${reasonOf(error)}`);
      }
    }),
  );
}
