import { condition, allHandlersFinished, workflowInfo } from '@temporalio/workflow';
import type { Application } from '../../core/application';
import type { MovedName } from '../../core/dns-moves';
import { failure, hasCode, reasonOf } from '../../core/errors';
import type { Severity } from '../../core/notify';
import type { Position } from '../../core/positions';
import type { SwitchOverFacts } from '../../core/hand-over';
import { failoverReport } from '../../core/report/from-failover';
import type { SiteAtWork } from '../../activities/site';
import type { FailOverInput, FailOverOutcome, FailOverResult, ForcedStore } from '../../core/role-change-runs';
import type { EndpointResult } from '../../core/traffic';
import { roleChange, telling } from '../proxies';
import { type StepTable, wasCancelled } from '../step-table';
import type { FailoverControl } from './control';

export interface UndoStep {
  readonly id: string;
  readonly title: string;
  /** Answers what people should read beside the step, null for nothing. */
  readonly work: () => Promise<string | null>;
}

/** What the chapters of one role change share. */
export class FailoverRun {
  readonly input: FailOverInput;
  readonly app: Application;
  readonly fromSite: string;
  /** The surviving site: every step runs there. */
  readonly site: string;
  readonly control: FailoverControl;
  readonly steps: StepTable;
  /** Where the steps run: at the surviving site, which is all that a failover has. */
  worksAt: string;
  at: ReturnType<typeof roleChange>;
  undoEpoch: UndoStep | null = null;
  /** The epoch that the old site got back; null where none had been taken, or none was given back. */
  epochGivenBack: number | null = null;
  /** Newest first. */
  readonly undo: UndoStep[] = [];
  /** What served at the old site when the fences were about to be set; an undo brings it back. */
  servedBefore: SiteAtWork | null = null;
  /** How many replicas each service of the old site was to have before it was stopped. */
  readonly sizesBefore = new Map<string, number>();
  /** What people should know once it is undone. */
  afterUndo: readonly string[] = [];
  /** By store, the server that has what the archive had. */
  readonly caughtUp = new Map<string, string>();
  /** Stores whose promotion has to be forced, as was found so far. */
  readonly mustForce = new Set<string>();
  /** What was promoted by force. */
  forced: readonly ForcedStore[] = [];
  endpoints: readonly EndpointResult[] = [];
  /** The names that were moved; one whose step was skipped is not among them. */
  moved: readonly MovedName[] = [];
  verifiedAt: string | null = null;

  constructor(input: FailOverInput, app: Application, fromSite: string, control: FailoverControl) {
    this.input = input;
    this.app = app;
    this.fromSite = fromSite;
    this.site = input.toSite;
    this.control = control;
    this.steps = control.steps;
    this.worksAt = input.toSite;
    this.at = roleChange(app.name, input.toSite);
    control.onWaiting = (title, reason) =>
      tell(this, 'waiting', 'critical', `${this.title} waits for a decision`, [
        `${title}: ${reason}`,
        `Decide with: drctl ${control.kind} ${control.status().accepts.join('|')} --by <name>`,
      ]);
  }

  /** "Failover of ultramarket". */
  get title(): string {
    return `${this.control.kind === 'failover' ? 'Failover' : 'Switchover'} of ${this.app.name}`;
  }

  /** What only a planned role change has to report. */
  get facts(): SwitchOverFacts | null {
    return null;
  }

  /** Up to where the server to be promoted has to have the store; null where people agreed to lose what is missing. */
  hasToHave(_store: string): Position | null {
    return null;
  }

  /** The stores whose role changes. */
  get stores(): string[] {
    return this.app.stores.filter((store) => store.hasReplication).map((store) => store.name);
  }

  workAt(site: string): void {
    this.worksAt = site;
    this.at = roleChange(this.app.name, site);
  }

  get epoch(): number {
    if (this.control.epoch === null) throw failure('StaleEpoch', 'no epoch was taken');
    return this.control.epoch;
  }
}

/** A step whose failure is told and then passed over: news and reports never hold up people's data. */
async function tryTo<T>(
  run: FailoverRun,
  id: string,
  title: string,
  work: () => Promise<T>,
  note?: (result: T) => string,
): Promise<T | null> {
  try {
    return await run.steps.run(id, title, work, note);
  } catch (error) {
    run.steps.say(`${title} failed: ${reasonOf(error)}`);
    return null;
  }
}

export async function tell(
  run: FailoverRun,
  id: string,
  severity: Severity,
  title: string,
  lines: readonly string[],
): Promise<void> {
  const notification = {
    id: `${workflowInfo().runId}:${id}:${run.steps.messages.length}`,
    application: run.app.name,
    severity,
    title,
    lines,
    at: new Date().toISOString(),
    fields: { kind: run.control.kind, from: run.fromSite, to: run.site },
  };
  await tryTo(
    run,
    `notify:${id}`,
    `Tell people: ${title}`,
    () => telling(run.app.name).notify(notification),
    (deliveries) =>
      deliveries.length === 0
        ? 'no channel is configured'
        : deliveries.map(({ channel, delivered, problem }) => `${channel}: ${delivered ? 'told' : problem}`).join(', '),
  );
}

/** The last page: people are told, the report is stored, nobody's command is left unanswered. */
export async function end(run: FailoverRun, outcome: FailOverOutcome, reason: string): Promise<FailOverResult> {
  const { control, app } = run;
  control.outcome = outcome;
  await tell(run, 'end', outcome === 'completed' ? 'warning' : 'info', `${run.title}: ${outcome}`, [reason]);
  const approvalToVerifiedSeconds =
    control.approval && run.verifiedAt ? (Date.parse(run.verifiedAt) - Date.parse(control.approval.at)) / 1_000 : null;
  const result: FailOverResult = {
    outcome,
    reason,
    epoch: control.epoch,
    approvedBy: control.approvedBy,
    fromSite: run.fromSite,
    toSite: run.site,
    losses: control.card?.losses ?? [],
    lossesAtApproval: control.lossesAtApproval,
    afterUndo: run.afterUndo,
    evidence: control.evidence,
    endpoints: run.endpoints,
    steps: run.steps.steps.map((step) => ({ ...step })),
    approvalToVerifiedSeconds,
    ...(run.forced.length > 0 ? { forced: run.forced } : {}),
    reportKey: null,
    ...(run.facts ? { switchover: run.facts } : {}),
  };
  const { workflowId, runId } = workflowInfo();
  const report = failoverReport({
    ...{ workflowId, runId, app, result },
    input: run.input,
    card: control.card,
    approvedAt: control.approval?.taken ? control.approval.at : null,
    verifiedAt: run.verifiedAt,
    decisions: control.decisions,
    messages: run.steps.messages,
    startedAt: run.steps.startedAt,
    endedAt: new Date().toISOString(),
  });
  const reportKey = await tryTo(run, 'report', 'Store the report', () =>
    run.at.storeReport({ application: app.name, report }),
  );
  await condition(allHandlersFinished);
  run.steps.finish(outcome);
  return { ...result, steps: run.steps.steps.map((step) => ({ ...step })), reportKey };
}

/**
 * How a run ends that was stopped before the pivot, once everything was undone but what is `left`. What could not be undone is
 * said, never hidden. An abort is an outcome, anything else stays the error that it is.
 */
export async function endTurnedBack(
  run: FailoverRun,
  error: unknown,
  left: readonly string[],
): Promise<FailOverResult> {
  const why = wasCancelled(error) ? 'the run was cancelled' : reasonOf(error);
  if (left.length > 0) return end(run, 'undo incomplete', `${why}; still to be done by hand: ${left.join('; ')}`);
  if (hasCode(error, 'Aborted')) return end(run, 'aborted', why);
  await end(run, run.undoEpoch ? 'rolled back' : 'failed', why);
  throw error;
}
