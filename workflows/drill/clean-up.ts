import { reasonOf } from '../../core/errors';
import { taskQueues } from '../../core/names';
import { drillingOn, restoringOn } from '../proxies';
import { discardCopy } from './recovery';
import type { DrillRun } from './run';

/** Takes away what the drill has made, also what it was just making; one that cannot be removed keeps nothing else. */
export async function cleanUp(run: DrillRun): Promise<void> {
  const { app, steps, made } = run;
  const application = app.name;
  const attempt = async (what: string, work: () => Promise<unknown>) => {
    try {
      await work();
    } catch (error) {
      run.warnings.push(`${what} could not be removed: ${reasonOf(error)}`);
    }
  };
  steps.enter('cleaning up');
  if (made.name) {
    const at = drillingOn(taskQueues.site(application, run.site), 2 * app.failover.dnsPropagationSeconds);
    await attempt('the isolated name', () =>
      steps.run('name:remove', `Remove ${app.drill.name?.name}`, () => at.withdrawDrillName({ application })),
    );
  }
  if (made.bubble) {
    await attempt('the bubble', () =>
      steps.run('bubble:close', 'Close the bubble', () => restoringOn(run.hostQueue).closeBubble({ application })),
    );
  }
  for (const store of run.copies.keys()) await attempt(`the copy of ${store}`, () => discardCopy(run, store));
}

/**
 * Looks whether it is all gone, and whether production is as it was. Answers what is left; null where nobody could look.
 * `othersMove`: a role change is under way, which moves the public names itself.
 */
export async function takeInventory(run: DrillRun, othersMove: boolean): Promise<readonly string[] | null> {
  const { app, steps, drillId, production } = run;
  try {
    const found = await steps.run(
      'inventory',
      'Look whether anything of it is left',
      () => restoringOn(run.hostQueue).takeInventory({ application: app.name, drillId }),
      ({ remains }) => (remains.length === 0 ? 'nothing is left' : remains.join('; ')),
    );
    const changed = found.production.filter((line, index) => line !== production[index]);
    if (changed.length > 0 && !othersMove)
      run.warnings.push(`public records changed while the drill ran: ${changed.join('; ')}`);
    run.warnings.push(...found.remains.map((each) => `left behind: ${each}`));
    return found.remains;
  } catch (error) {
    run.warnings.push(`nobody could look what was left: ${reasonOf(error)}`);
    return null;
  }
}
