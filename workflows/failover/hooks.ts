import { workflowInfo } from '@temporalio/workflow';
import { type Hook, type HookCall, type HookMoment, type HookPoint, hooksAt } from '../../core/hooks';
import { named, roleChangeSteps } from '../../core/role-change-steps';
import { calling } from '../proxies';
import type { FailoverRun } from './run';

/** One after the other, in the order of the config. */
export async function runHooks(run: FailoverRun, moment: HookMoment, point: HookPoint): Promise<void> {
  const hooks = hooksAt(run.app, run.control.kind, moment, point);
  if (hooks.length > 0) run.steps.enter('running hooks');
  for (const hook of hooks) await runHook(run, hook);
}

/** A chapter with what runs before and after it. */
export async function withHooks(run: FailoverRun, point: HookPoint, chapter: () => Promise<void>): Promise<void> {
  await runHooks(run, 'before', point);
  await chapter();
  await runHooks(run, 'after', point);
}

async function runHook(run: FailoverRun, hook: Hook): Promise<void> {
  const { app, control, epoch } = run;
  const [from, to] = [run.fromSite, run.site];
  const site = hook.at === 'old' ? from : to;
  const call = (action: HookCall['action']) => {
    const { callHook } = calling(app.name, site, hook);
    const { runId } = workflowInfo();
    const move = { application: app.name, kind: control.kind, from, to, epoch, runId };
    return callHook({ ...move, hook: hook.name, action, withinSeconds: hook.withinSeconds });
  };
  if (hook.undoes && !control.pivotPassed) {
    run.undo.unshift({
      ...named(roleChangeSteps.undoHook(hook.name, site)),
      work: () => call('undo'),
    });
  }
  const [id, title] = roleChangeSteps.hook(hook.name, site);
  const said = (words: string) => words;
  if (hook.onFailure === 'stop') {
    await control.step(id, title, () => call('run'), said);
    return;
  }
  await control.clearance();
  await run.steps.attempt(id, title, () => call('run'), said);
}
