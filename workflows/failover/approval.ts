import { condition } from '@temporalio/workflow';
import { reasonOf } from '../../core/errors';
import { GROWTH_COVERED_SECONDS, whyAskAgain } from '../../core/approval';
import type { LossEstimate } from '../../core/replication';
import type { ApprovalCard } from '../../core/role-change-runs';
import { roleChangeSteps } from '../../core/role-change-steps';
import type { SiteVerdict } from '../../activities/primary';
import { roleChangeWithin } from '../proxies';
import { wasCancelled } from '../step-table';
import { type FailoverRun, tell } from './run';

/** The loss that people are shown is at most this old at first … */
const FRESH_SECONDS = 15;
/** … and at most a tenth of the time they have been waiting later, but never more than a minute, … */
const FRESH_SHARE = 1 / 10;
const STALE_SECONDS = GROWTH_COVERED_SECONDS;
/**
 * … as long as somebody may be expected to answer. Then with each escalation only, so that a run that nobody answers for
 * days keeps its history small: about 380 measurements of a dozen events until then, out of 50,000 that Temporal allows.
 */
const WATCHED_SECONDS = 6 * 3_600;

/** One measurement while people think; the next one makes good for one that fails. */
const MEASURE_SECONDS = 10;

/** What approvers need to know before they sign; nothing is changed to find it out. */
export async function priceTheLoss(run: FailoverRun, verdict: SiteVerdict): Promise<void> {
  const losses = await run.control.must(
    ...roleChangeSteps.assess(),
    () => run.at.assessLoss({ application: run.app.name, toSite: run.site }),
    inWords,
  );
  showCard(run, { evidence: verdict.findings, losses, measuredAt: measuredAtOf(losses) });
}

/** Of the oldest estimate: its answer may have been long on its way here, and the loss grew meanwhile. */
function measuredAtOf(losses: readonly LossEstimate[]): string {
  // Histories of before estimates said when they were made have none.
  const known = losses.flatMap(({ measuredAt }) => (measuredAt as string | undefined) ?? []);
  return known.toSorted()[0] ?? new Date().toISOString();
}

/**
 * Waits for a decision and measures the loss again and again meanwhile, and once more when an approval comes. One that
 * does not cover what was measured is not taken: people see the new card and are asked again. A timeout escalates and
 * never approves.
 */
export async function askForApproval(run: FailoverRun): Promise<'approved' | 'rejected' | 'aborted'> {
  const { control, steps } = run;
  for (;;) {
    steps.waitingFor = 'approval (approve, reject or abort)';
    steps.enter('waiting for approval');
    await decisionOf(run);
    steps.waitingFor = null;
    if (control.rejectedBy) return 'rejected';
    const { approval } = control;
    if (!approval) return 'aborted';

    const measured = await measureAnew(run);
    const notCovered = whyAskAgain(approval.card, measured);
    if (notCovered.length === 0) {
      if (measured.problem === null) control.lossesAtApproval = measured.losses;
      approval.taken = true;
      return 'approved';
    }
    showCard(run, { ...measured, worse: notCovered });
    control.setAside(approval, notCovered);
    steps.say(`the approval by ${approval.by} was not taken, the loss became worse: ${notCovered.join('; ')}`);
    await tell(run, 'ask-again', 'critical', `Failover of ${run.app.name} needs another approval`, [
      `${approval.by} approved, but the loss became worse than what was shown`,
      ...notCovered,
      'Look at it with: drctl failover status',
    ]);
  }
}

/** Resolves when somebody has decided; keeps the card fresh and calls louder meanwhile. */
async function decisionOf(run: FailoverRun): Promise<void> {
  const { control } = run;
  const decided = () => control.approval !== null || control.rejectedBy !== null || control.abortedBy !== null;
  const since = Date.now();
  const escalateEvery = run.app.failover.escalateAfterSeconds * 1_000;
  let escalateAt = since + escalateEvery;
  for (;;) {
    const wait = Math.min(measureIn(Date.now() - since), escalateAt - Date.now());
    if (await condition(decided, Math.max(1, wait))) return;
    showCard(run, await measureAnew(run));
    if (Date.now() < escalateAt) continue;
    escalateAt += escalateEvery;
    await escalate(run);
  }
}

function measureIn(waitedMilliseconds: number): number {
  if (waitedMilliseconds > WATCHED_SECONDS * 1_000) return Infinity;
  return Math.min(Math.max(FRESH_SECONDS * 1_000, waitedMilliseconds * FRESH_SHARE), STALE_SECONDS * 1_000);
}

/** The card as it would be now. A measurement that fails leaves the losses as they were and says so: unknown is not zero. */
async function measureAnew(run: FailoverRun): Promise<ApprovalCard> {
  const before = run.control.cards.at(-1) as ApprovalCard;
  const place = { application: run.app.name, toSite: run.site };
  try {
    const losses = await roleChangeWithin(run.app.name, run.site, MEASURE_SECONDS).assessLoss(place);
    const measuredAt = measuredAtOf(losses);
    run.steps.renew('assess', `${inWords(losses)} (${measuredAt.slice(11, 19)}Z)`);
    return { ...before, losses, measuredAt, problem: null };
  } catch (error) {
    if (wasCancelled(error)) throw error;
    run.steps.renew('assess', `not measured anew since ${before.measuredAt}: ${reasonOf(error)}`);
    return { ...before, problem: reasonOf(error) };
  }
}

/** Cards that are older than these were seen by nobody who still answers: an approval of one is asked to look again. */
const CARDS_KEPT = 100;

function showCard(
  run: FailoverRun,
  measured: Pick<ApprovalCard, 'evidence' | 'losses' | 'measuredAt'> & Partial<ApprovalCard>,
): void {
  const { input, app, control } = run;
  control.cards.push({
    application: app.name,
    fromSite: run.fromSite,
    toSite: run.site,
    requestedBy: input.requestedBy,
    reason: input.reason,
    problem: null,
    worse: [],
    rtoSeconds: app.objectives.rtoSeconds,
    rpoSeconds: app.objectives.rpoSeconds,
    ...measured,
    number: (control.cards.at(-1)?.number ?? 0) + 1,
  });
  if (control.cards.length > CARDS_KEPT) control.cards.shift();
}

/** Nobody answered: tell more loudly. A timeout never approves. */
async function escalate(run: FailoverRun): Promise<void> {
  run.steps.say('nobody has decided yet: escalated');
  await tell(run, 'escalate', 'critical', `Failover of ${run.app.name} waits for approval`, [
    `${run.fromSite} is not healthy; ${run.input.requestedBy} asked to fail over to ${run.site}: ${run.input.reason}`,
    `Approve with: drctl failover approve --by <name>`,
  ]);
}

const inWords = (losses: readonly LossEstimate[]) =>
  losses
    .map(({ store, seconds }) => `${store}: ${seconds === null ? 'unknown' : `≤ ${seconds.toFixed(1)} s`}`)
    .join(', ');
