import { allHandlersFinished, CancellationScope, condition, defineQuery, setHandler } from '@temporalio/workflow';
import { type DrillPlan, planDrill } from '../core/drill-plan';
import type { DrillInput, DrillOutcome, DrillResult, DrillStatus } from '../core/drill-runs';
import { failure } from '../core/errors';
import { taskQueues } from '../core/names';
import { type Command, commands, queries } from '../core/runs';
import { onCommand, refuse } from './commands';
import { startApplication } from './drill/application-start';
import { couldNotBegin, endDrill, tellTheBegin } from './drill/end';
import { verifyIntegrity } from './drill/integrity';
import { failTheNameOver } from './drill/network';
import { measurePerformance } from './drill/performance';
import { recoverStores } from './drill/recovery';
import { drillIdOfRun, DrillRun, type Stop } from './drill/run';
import { validateRecovery } from './drill/validator';
import { anywhere, drillingOn, onceOn } from './proxies';
import { StepTable } from './step-table';

/** Removing what an earlier drill left takes as long as its copies are large. */
const PREPARING_SECONDS = 900;

/**
 * The monthly test: the strategy's five stages in their order, then what the config names is killed and timed. All of it in
 * isolation: copies of the stores, a name of its own, services without a way out. Whatever stops it (a person, a role
 * change, a cancellation, an error), what it has made is taken away, which nothing can skip, and is looked for afterwards.
 */
export async function drill(input: DrillInput): Promise<DrillResult> {
  const steps = new StepTable('drill', input.application);
  const scope = new CancellationScope();
  const stop: Stop = { by: null };
  const seen: { run: DrillRun | null; outcome: DrillOutcome | null } = { run: null, outcome: null };
  setHandler(defineQuery<DrillStatus>(queries.status), () => {
    return { ...steps.status(), stages: seen.run?.stages ?? [], outcome: seen.outcome };
  });
  acceptAbort(steps, stop, scope);

  let run: DrillRun;
  try {
    run = await scope.run(() => prepare(input, steps));
    seen.run = run;
  } catch (error) {
    const reason = stop.by ? failure('Aborted', `aborted by ${stop.by.by}: ${stop.by.reason ?? ''}`) : error;
    await CancellationScope.nonCancellable(() => couldNotBegin(steps, input, reason));
    throw reason;
  }
  let error: unknown = null;
  try {
    await scope.run(() => holdStages(run));
  } catch (caught) {
    error = caught;
  }
  const result = await CancellationScope.nonCancellable(() => endDrill(run, stop, error));
  seen.outcome = result.outcome;
  await condition(allHandlersFinished);
  if (error !== null && !stop.by) throw error;
  return result;
}

/** By people, and by a role change that begins: an incident wins. */
function acceptAbort(steps: StepTable, stop: Stop, scope: CancellationScope): void {
  const possible = () => {
    if (stop.by) throw refuse(`this drill was aborted by ${stop.by.by} already`);
    if (steps.phase === 'cleaning up' || steps.finishedAt !== null) throw refuse('this drill is over and cleans up');
  };
  const abort = (command: Command) => {
    stop.by = command;
    steps.say(`aborted by ${command.by}: ${command.reason ?? ''}`);
    scope.cancel();
  };
  onCommand(commands.abort, possible, abort, (message) => steps.say(message));
}

async function prepare(input: DrillInput, steps: StepTable): Promise<DrillRun> {
  const { application } = input;
  const drillId = drillIdOfRun();
  steps.enter('preparing');
  const { application: app, activeSite } = await anywhere(application).describeApplication({ application });
  const site = app.sites.find((each) => each !== activeSite) ?? activeSite;
  setHandler(defineQuery<DrillPlan>(queries.plan), () => planDrill(app, { site, without: input.without ?? [] }));
  const queue = taskQueues.site(application, site);
  await steps.run('alone', 'See that no role change is under way', () =>
    onceOn(queue).requireNoRoleChange({ application }),
  );
  const { hostQueue, production } = await steps.run(
    'prepare',
    `Choose the host at ${site}, and remove what an earlier drill left`,
    () => drillingOn(queue, PREPARING_SECONDS).prepareDrill({ application, drillId }),
    ({ removed }) => (removed.length === 0 ? 'nothing was left' : `removed ${removed.join(', ')}`),
  );
  return new DrillRun({ input, app, site, steps, drillId, hostQueue, production });
}

async function holdStages(run: DrillRun): Promise<void> {
  await tellTheBegin(run);
  await run.stage('integrity', () => verifyIntegrity(run));
  await run.stage('recovery', () => recoverStores(run));
  await run.stage('network', () => failTheNameOver(run));
  await run.stage('application', () => startApplication(run));
  await run.stage('performance', () => measurePerformance(run));
  await run.stage('validator', () => validateRecovery(run));
}
