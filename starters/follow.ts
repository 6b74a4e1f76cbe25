import { isGrpcDeadlineError, type WorkflowHandle } from '@temporalio/client';
import { formatDuration } from '../core/clock';
import { failure } from '../core/errors';
import { queries, type RunStatus, STEP_SIGNS, type StepState, type StepStatus } from '../core/runs';
import { retriesOf } from './retries';
import { temporalFailure } from './temporal-errors';
import type { Session } from './session';
import { shortTime } from './table';

/** Exit code of a command that was left with Ctrl-C while its workflow goes on, as shells use it. */
const DETACHED_EXIT_CODE = 130;

/** A person sees movement, the workers see little load. */
const POLL_MILLISECONDS = 500;
/** Why a run waits is looked up this often: the steps' own states say enough while they go on. */
const RETRIES_EVERY_LOOKS = 6;
/** A query that no worker answers within this says so instead of hanging. */
const QUERY_MILLISECONDS = 5_000;
/** The same for a command that has nothing to show otherwise: a busy worker reads the whole history of a long run first. */
const REQUIRED_QUERY_MILLISECONDS = 15_000;
const LOOKS_IN_VAIN_BEFORE_SAYING = 2;

/** A step that takes longer is announced in a log before it ends. */
const SLOW_MILLISECONDS = 5_000;

export interface FollowOptions<R, S extends RunStatus> {
  /** The command that brings a person back to this run. */
  readonly back: string;
  /** Its result, for a person. */
  lines(result: R): readonly string[];
  /** What a script gets; the result itself where it is left out. */
  value?(result: R): unknown;
  /** That of the command; 0 where it is left out. */
  exitCode?(result: R): number;
  /** Called for every status seen, before it is shown; may ask the person something. */
  onStatus?(status: S): Promise<void> | void;
}

/**
 * Shows the steps of a run as they happen until it ends, prints its result and answers the exit code; throws what it failed
 * with. Ctrl-C only stops the looking: the run goes on, and the way back is shown.
 */
export async function follow<R, S extends RunStatus = RunStatus>(
  session: Session,
  handle: WorkflowHandle,
  options: FollowOptions<R, S>,
): Promise<number> {
  const { io } = session;
  const shown = new StepLines(session);
  const state: { outcome: { readonly result: R } | { readonly error: unknown } | null; detached: boolean } = {
    outcome: null,
    detached: false,
  };
  const { connection } = await session.client();
  // Calls that are left behind would be retried on a connection that is closed by then.
  const left = new AbortController();
  const ending = connection
    .withAbortSignal(left.signal, () => handle.result())
    .then(
      (result) => void (state.outcome = { result: result as R }),
      (error: unknown) => void (state.outcome = left.signal.aborted ? null : { error }),
    );
  const leaving = io.interrupted.then(() => void (state.detached = true));
  let looks = 0;
  const look = async () => {
    if (++looks % RETRIES_EVERY_LOOKS === 0) {
      const retries = await connection.withAbortSignal(left.signal, () => retriesOfRun(session, handle));
      if (left.signal.aborted) return;
      for (const line of retries) shown.retry(line);
    }
    const status = await connection.withAbortSignal(left.signal, () => queryStatus<S>(session, handle));
    if (left.signal.aborted) return;
    if (typeof status === 'string') return shown.problem(status);
    shown.show(status);
    if (!state.detached && state.outcome === null) await options.onStatus?.(status);
  };

  try {
    while (state.outcome === null && !state.detached) {
      await Promise.race([look(), leaving]);
      await Promise.race([ending, leaving, pause(POLL_MILLISECONDS)]);
    }
  } finally {
    if (state.outcome === null) left.abort();
    await ending;
  }
  if (state.outcome === null) {
    detachedLines(session, handle.workflowId, options.back).forEach((line) => io.note(line));
    return DETACHED_EXIT_CODE;
  }
  await look();
  io.live(null);
  if ('error' in state.outcome) {
    throw temporalFailure(session, state.outcome.error, handle.workflowId);
  }
  const { result } = state.outcome;
  session.print(options.value ? options.value(result) : result, () => options.lines(result));
  return options.exitCode?.(result) ?? 0;
}

function detachedLines(session: Session, workflowId: string, back: string): string[] {
  const link = session.link(workflowId);
  session.io.live(null);
  return [
    '',
    `Detached: ${workflowId} goes on without you.`,
    `  back to it:  ${back}`,
    ...(link ? [`  Web UI:      ${link}`] : []),
  ];
}

/** Empty where Temporal does not answer: that is said by the status and by the end of the run. */
async function retriesOfRun(session: Session, handle: WorkflowHandle): Promise<string[]> {
  const client = await session.client();
  return client.connection
    .withDeadline(Date.now() + QUERY_MILLISECONDS, () => retriesOf(client, handle.workflowId))
    .catch(() => []);
}

/** The run's status, or in a few words why it cannot be seen now. */
async function queryStatus<S extends RunStatus>(
  session: Session,
  handle: WorkflowHandle,
  withinMilliseconds = QUERY_MILLISECONDS,
): Promise<S | string> {
  const client = await session.client();
  try {
    return await client.connection.withDeadline(Date.now() + withinMilliseconds, () => handle.query<S>(queries.status));
  } catch (error) {
    // Progress is a courtesy: the run is durable and its result is waited for elsewhere.
    if (isGrpcDeadlineError(error)) return 'no worker answers (`drctl worker` says how to run one)';
    return `how far it is cannot be seen: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** The run's status, for a command that shows nothing without it. `what` names the run to a person. */
export async function requireStatus<S extends RunStatus>(
  session: Session,
  handle: WorkflowHandle,
  what: string,
): Promise<S> {
  const status = await queryStatus<S>(session, handle, REQUIRED_QUERY_MILLISECONDS);
  if (typeof status !== 'string') return status;
  throw failure('TargetUnreachable', `${what} cannot be looked at: ${status}`, {
    next: 'Check that a worker runs (`drctl worker`); the Web UI shows the steps too.',
  });
}

/** `started 14:02:11, took 3.2 s`, or how long it has been running. */
export function durationText(
  { startedAt, finishedAt }: Pick<RunStatus, 'startedAt' | 'finishedAt'>,
  now: Date,
): string {
  const took = formatDuration(Date.parse(finishedAt ?? now.toISOString()) - Date.parse(startedAt));
  return `started ${shortTime(startedAt)}, ${finishedAt ? `took ${took}` : `running for ${took}`}`;
}

/** Prints each step when it ends, and the ones that run on the live line (or when they begin, where there is no terminal). */
class StepLines {
  private readonly seen = new Map<string, StepState>();
  private readonly announced = new Set<string>();
  private readonly notes = new Map<string, string>();
  private readonly retriesSeen = new Set<string>();
  private messages = 0;
  private problemSeen: string | null = null;
  private looksInVain = 0;
  private waitingSeen: string | null = null;
  private readonly session: Session;

  constructor(session: Session) {
    this.session = session;
  }

  show(status: RunStatus): void {
    const { io } = this.session;
    this.problemSeen = null;
    this.looksInVain = 0;
    for (const message of status.messages.slice(this.messages)) io.note(`  ! ${message}`);
    this.messages = Math.max(this.messages, status.messages.length);
    for (const step of status.steps) {
      const before = this.seen.get(step.id);
      this.seen.set(step.id, step.state);
      if (step.state === 'running') {
        this.announceSlow(step);
        this.showNote(step);
      }
      if (before !== step.state && step.state !== 'running' && step.state !== 'waiting') io.note(stepLine(step));
    }
    if (status.waitingFor !== null && status.waitingFor !== this.waitingSeen)
      io.note(`  ⏸ waits for ${status.waitingFor}`);
    this.waitingSeen = status.waitingFor;
    const running = status.steps.filter(({ state }) => state === 'running');
    const doing = running.map((step) => `${step.title} ${elapsed(step, io.now())}`).join(' · ');
    const waiting = status.waitingFor === null ? '' : `waiting for ${status.waitingFor}`;
    io.live(`  … ${doing || waiting || status.phase}`);
  }

  /** How far a step has come that takes hours. */
  private showNote({ id, title, note }: StepStatus): void {
    if (note === null || note === this.notes.get(id)) return;
    this.notes.set(id, note);
    this.session.io.note(`  ${STEP_SIGNS.running} ${title}: ${note}`);
  }

  /** Where there is no live line, a log shows what a long wait is for; a quick step is one line when it ends. */
  private announceSlow(step: StepStatus): void {
    const { io } = this.session;
    if (io.isTerminal || this.announced.has(step.id) || step.startedAt === null) return;
    if (io.now().getTime() - Date.parse(step.startedAt) < SLOW_MILLISECONDS) return;
    this.announced.add(step.id);
    io.note(`  ${STEP_SIGNS.running} ${step.title} …`);
  }

  /** Once for each reason, however often it comes back. */
  retry(message: string): void {
    if (this.retriesSeen.has(message)) return;
    this.retriesSeen.add(message);
    this.session.io.note(`  ? ${message}`);
  }

  /** Said when it lasts: one look that a busy worker did not answer in time worries a person for nothing. */
  problem(message: string): void {
    this.looksInVain += 1;
    if (this.looksInVain < LOOKS_IN_VAIN_BEFORE_SAYING) return;
    if (message === this.problemSeen) return;
    this.problemSeen = message;
    this.session.io.note(`  ? ${message}`);
  }
}

/** `  ✔ Promote orders-db at dr   1.2 s   timeline 2 at 0/5000148` */
export function stepLine(step: StepStatus): string {
  const took =
    step.startedAt && step.finishedAt ? formatDuration(Date.parse(step.finishedAt) - Date.parse(step.startedAt)) : '';
  return `  ${STEP_SIGNS[step.state]} ${step.title.padEnd(54)} ${took.padStart(8)}  ${(step.note ?? '').replaceAll('\n', ' ')}`.trimEnd();
}

const elapsed = ({ startedAt }: StepStatus, now: Date) =>
  startedAt === null ? '' : formatDuration(Math.max(0, now.getTime() - Date.parse(startedAt)));

const pause = (milliseconds: number) => new Promise<void>((resolve) => setTimeout(resolve, milliseconds));
