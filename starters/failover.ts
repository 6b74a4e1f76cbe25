import { whyAskAgain } from '../core/approval';
import { formatDuration } from '../core/clock';
import { failure, findFailure } from '../core/errors';
import { FAILURES } from '../core/failure-classes';
import { workflowIds } from '../core/names';
import type {
  ApprovalCard,
  FailOverCommand,
  FailOverInput,
  FailOverResult,
  FailOverStatus,
} from '../core/role-change-runs';
import type { Command, commands, RoleChangeKind } from '../core/runs';
import { cardLines } from './approval-card';
import { durationText, follow, requireStatus, stepLine } from './follow';
import { printDetached, startRun } from './runs';
import { runAsScript } from './script';
import { sendCommand } from './send-command';
import type { Session } from './session';
import { shortTime } from './table';
import { temporalFailure } from './temporal-errors';

export interface FailoverRequest {
  /** Unplanned, or planned: without loss, while both sites are healthy. */
  readonly kind: RoleChangeKind;
  readonly toSite: string;
  readonly reason: string;
  /** Approve at once in this person's name; null: ask on the terminal, or leave it to `drctl failover approve`. */
  readonly approver: string | null;
  readonly detach: boolean;
}

const TYPES = { failover: 'failOver', switchover: 'switchOver' } as const;
const TITLES = { failover: 'Failover', switchover: 'Switchover' } as const;
const VERBS = { failover: 'fail', switchover: 'switch' } as const;

const backTo = (kind: RoleChangeKind) => `drctl ${kind} status --follow`;

/** Starts the role change of the application and follows it to its end. Answers the exit code. */
export async function startFailover(
  session: Session,
  { kind, toSite, reason, approver, detach }: FailoverRequest,
): Promise<number> {
  const { application, io } = session;
  session.site(toSite);
  const workflowId = workflowIds.roleChange(application);
  const input: FailOverInput = { application, toSite, requestedBy: io.user, reason };
  await startRun(session, {
    workflowId,
    type: TYPES[kind],
    input,
    summary: `${VERBS[kind]} ${application} over to ${toSite} (${io.user}: ${reason})`,
  });
  if (!detach) return followFailover(session, kind, approver);
  printDetached(session, workflowId, backTo(kind));
  return 0;
}

/** Follows the failover that runs, and asks for the decision when it waits for one. Answers the exit code. */
export async function followFailover(session: Session, kind: RoleChangeKind, approver: string | null): Promise<number> {
  const { application, io } = session;
  const workflowId = workflowIds.roleChange(application);
  const handle = (await session.client()).workflow.getHandle(workflowId);
  let cardShown: ApprovalCard | null = null;
  let stuckShown: string | null = null;
  return follow<FailOverResult, FailOverStatus>(session, handle, {
    back: backTo(kind),
    lines: resultLines,
    exitCode: outcomeExitCode,
    async onStatus({ card, accepts, waitingFor, outcome }) {
      if (waitingFor === null || outcome !== null) return;
      if (!accepts.includes('approve')) {
        if (waitingFor !== stuckShown) for (const line of howToGoOn(kind, accepts)) io.note(line);
        stuckShown = waitingFor;
      } else if (card && isNews(cardShown, card)) {
        cardShown = card;
        for (const line of cardLines(card, io.now())) io.note(line);
        if (approver !== null) await approveAs(session, kind, approver, card);
        else if (io.isTerminal) await askApprover(session, kind, card);
        else for (const line of howToGoOn(kind, accepts)) io.note(line);
      }
    },
  });
}

/** The loss is measured every few seconds: people are shown what an approval of the card they saw does not cover. */
function isNews(shown: ApprovalCard | null, card: ApprovalCard): boolean {
  return shown === null || whyAskAgain(shown, card).length > 0 || card.worse.join() !== shown.worse.join();
}

/** Prints where the failover stands, or how the last one ended. */
export async function showFailover(session: Session, kind: RoleChangeKind): Promise<void> {
  const workflowId = workflowIds.roleChange(session.application);
  const handle = (await session.client()).workflow.getHandle(workflowId);
  try {
    await handle.describe();
  } catch (error) {
    const found = temporalFailure(session, error, workflowId);
    throw failure('NotFound', `there was no ${kind} of ${session.application}`, {
      cause: found,
      next: `Start one with \`drctl ${kind} start\`.`,
    });
  }
  const status = await requireStatus<FailOverStatus>(session, handle, `the ${kind}`);
  session.print(status, () => failoverLines(status, session.io.now()));
}

/** Sends a decision and says how it was taken. */
export async function tell(session: Session, name: keyof typeof commands, command: Command): Promise<void> {
  const workflowId = workflowIds.roleChange(session.application);
  const delivery = await sendCommand(session, workflowId, name, command);
  session.io.note(
    delivery === 'accepted'
      ? `${name}: accepted, by ${command.by}.`
      : `${name}: no worker answers now; Temporal keeps it and hands it over when one is back.`,
  );
}

function failoverLines(status: FailOverStatus, now: Date): string[] {
  const { kind, fromSite, toSite, phase, waitingFor, steps, messages, card, accepts, approvedBy, approvedAt, epoch } =
    status;
  return [
    `${TITLES[kind]} of ${status.application} ${fromSite ?? '?'} → ${toSite}: ${phase}`,
    `  ${durationText(status, now)}${epoch === null ? '' : `, epoch ${epoch}`}`,
    ...(approvedBy ? [`  approved by ${approvedBy} at ${shortTime(approvedAt)}`] : []),
    '',
    ...steps.map(stepLine),
    ...messages.map((message) => `  ! ${message}`),
    ...(waitingFor && card && !approvedBy ? cardLines(card, now) : []),
    ...(waitingFor ? [`Waiting for: ${waitingFor}`, ...howToGoOn(kind, accepts)] : []),
  ];
}

/** With --yes: nobody is at the terminal, so a refusal ends the command, and the run keeps waiting. */
async function approveAs(
  session: Session,
  kind: RoleChangeKind,
  approver: string,
  { number }: ApprovalCard,
): Promise<void> {
  try {
    await tell(session, 'approve', { by: approver, card: number });
  } catch (error) {
    const found = findFailure(error);
    // Whatever loss is measured was approved: the new card comes with the next look, and is approved as well.
    if (found?.code === 'ApprovalOutdated') return session.io.note(`approve: not taken: ${found.message}`);
    if (found?.code !== 'UsageInvalid') throw error;
    throw failure('UsageInvalid', `${approver} cannot approve this ${kind}: ${found.message}`, {
      data: `Nothing was changed. The ${kind} waits for an approver.`,
      next: `Let an approver decide: drctl ${kind} approve --by <name>.`,
      cause: error,
    });
  }
}

async function askApprover(
  session: Session,
  kind: RoleChangeKind,
  { toSite, number: card }: ApprovalCard,
): Promise<void> {
  const { io } = session;
  const answer = (await io.ask(`Type "${toSite}" to approve, "no" to reject, Enter to leave it to others: `))?.trim();
  if (answer === toSite) {
    const by = (await io.ask(`Approver's name [${io.user}]: `))?.trim();
    if (by === undefined) return;
    await tellAndStay(session, kind, 'approve', { by: by || io.user, card });
  } else if (answer === 'no') {
    const reason = (await io.ask('Why? '))?.trim();
    await tellAndStay(session, kind, 'reject', { by: io.user, reason: reason || 'rejected on the terminal' });
  } else for (const line of howToGoOn(kind, ['approve', 'reject'])) io.note(line);
}

/** On a terminal a refusal ("the requester may not approve") is shown and the run stays in view. */
async function tellAndStay(
  session: Session,
  kind: RoleChangeKind,
  name: 'approve' | 'reject',
  command: Command,
): Promise<void> {
  try {
    await tell(session, name, command);
  } catch (error) {
    const found = findFailure(error);
    session.io.note(`${name}: refused: ${found?.message ?? String(error)}`);
    // The new card comes with the next look, and with it the question.
    if (found?.code === 'ApprovalOutdated') return;
    for (const line of howToGoOn(kind, ['approve', 'reject'])) session.io.note(line);
  }
}

/** How a person answers, in the order in which to think of it; the run says which of these it would take now. */
const ANSWERS: readonly (readonly [FailOverCommand, string])[] = [
  ['approve', '--by <name>'],
  ['reject', '--by <name> --reason <why>'],
  ['resume', '--by <name>'],
  ['retry', '--by <name>'],
  ['skip', '--by <name> --reason <why>'],
  ['attest', '--by <name> --reason <why>     (the old site is dead, and you vouch for it)'],
  ['force', '--by <name> --reason <why>     (the majority is lost for good, and the rest shall go on alone)'],
  ['abort', '--by <name> --reason <why>     (what was done is undone)'],
];

function howToGoOn(kind: RoleChangeKind, accepts: readonly FailOverCommand[]): string[] {
  const possible = ANSWERS.filter(([name]) => accepts.includes(name));
  const head = accepts.includes('approve') ? 'To decide:' : 'To go on:';
  const width = Math.max(...possible.map(([name]) => name.length));
  return possible.map(
    ([name, how], index) => `${(index === 0 ? head : '').padEnd(12)}drctl ${kind} ${name.padEnd(width)} ${how}`,
  );
}

export function resultLines(result: FailOverResult): string[] {
  const { outcome, reason, fromSite, toSite, approvedBy, approvalToVerifiedSeconds, forced, reportKey, switchover } =
    result;
  const kind = switchover ? 'switchover' : 'failover';
  return [
    '',
    `${TITLES[kind]} ${fromSite} → ${toSite}: ${outcome}. ${reason}`,
    ...(approvedBy ? [`  approved by  ${approvedBy}`] : []),
    ...(approvalToVerifiedSeconds === null
      ? []
      : [`  approval to verified service  ${formatDuration(approvalToVerifiedSeconds * 1_000)}`]),
    ...(forced ?? []).map(
      ({ store, removed, attestation }) =>
        `  ! ${store} was reconfigured by force (${attestation.by}): keep ${removed.join(', ')} down, see the report`,
    ),
    ...(switchover?.outageSeconds == null
      ? []
      : [`  without service              ${formatDuration(switchover.outageSeconds * 1_000)}`]),
    ...(switchover?.following ?? [])
      .filter(({ follows }) => !follows)
      .map(({ store, how }) => `  ! ${store} has no standby at ${fromSite} yet: ${how}`),
    ...(reportKey ? [`  report       drctl ${kind} report`] : []),
  ];
}

function outcomeExitCode({ outcome }: FailOverResult): number {
  if (outcome === 'rejected') return FAILURES.ApprovalRejected.exitCode;
  return outcome === 'aborted' || outcome === 'rolled back' || outcome === 'undo incomplete'
    ? FAILURES.Aborted.exitCode
    : 0;
}

runAsScript(module, 'failover');
