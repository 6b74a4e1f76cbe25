import { defineQuery, setCurrentDetails, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import { ActivityFailure, CancelledFailure, ChildWorkflowFailure } from '@temporalio/common';
import { reasonOf } from '../core/errors';
import { queries, type RunStatus, STEP_SIGNS, type StepState, type StepStatus } from '../core/runs';

const statusQuery = defineQuery<RunStatus>(queries.status);

type Step = { -readonly [K in keyof StepStatus]: StepStatus[K] };

export function wasCancelled(error: unknown): boolean {
  if (error instanceof ActivityFailure || error instanceof ChildWorkflowFailure) return wasCancelled(error.cause);
  return error instanceof CancelledFailure;
}

/** The whole note is in the `status` query and in the report; a long one would make its row of the table a column. */
const NOTE_SHOWN = 120;

const shortened = (text: string) => (text.length <= NOTE_SHOWN ? text : `${text.slice(0, NOTE_SHOWN - 1).trimEnd()}…`);

const inCell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** What a run did and does: the `status` query, the live table in the Web UI and the report all read it. */
export class StepTable {
  readonly steps: Step[] = [];
  readonly messages: string[] = [];
  readonly startedAt = new Date().toISOString();
  phase = 'starting';
  finishedAt: string | null = null;
  waitingFor: string | null = null;
  readonly kind: RunStatus['kind'];
  readonly application: string;

  constructor(kind: RunStatus['kind'], application: string) {
    this.kind = kind;
    this.application = application;
    upsertSearchAttributes({ DrApplication: [application], DrKind: [kind], DrPhase: [this.phase] });
    setHandler(statusQuery, () => this.status());
  }

  status(): RunStatus {
    const { kind, application, phase, startedAt, finishedAt, steps, waitingFor, messages } = this;
    return { kind, application, phase, startedAt, finishedAt, steps, waitingFor, messages };
  }

  enter(phase: string): void {
    this.phase = phase;
    upsertSearchAttributes({ DrPhase: [phase] });
    this.show();
  }

  /** A line for people: what was decided, refused or noticed. */
  say(message: string): void {
    this.messages.push(message);
    this.show();
  }

  /** Lists a step before it runs, so that a person sees what is still to come. */
  announce(id: string, title: string): void {
    this.row(id, title);
    this.show();
  }

  async run<T>(id: string, title: string, work: () => Promise<T>, note?: (result: T) => string | null): Promise<T> {
    const step = this.row(id, title);
    Object.assign(step, { state: 'running', startedAt: new Date().toISOString(), finishedAt: null, note: null });
    this.show();
    try {
      const result = await work();
      this.end(step, 'done', note?.(result) ?? null);
      return result;
    } catch (error) {
      this.end(step, 'failed', wasCancelled(error) ? 'cancelled' : reasonOf(error));
      throw error;
    }
  }

  /** A step whose failure stops nothing else: it is said, and null is answered. A cancellation is none. */
  async attempt<T>(
    id: string,
    title: string,
    work: () => Promise<T>,
    note?: (result: T) => string | null,
  ): Promise<T | null> {
    try {
      return await this.run(id, title, work, note);
    } catch (error) {
      if (wasCancelled(error)) throw error;
      this.say(`${title} failed: ${reasonOf(error)}`);
      return null;
    }
  }

  mark(id: string, state: StepState, note: string | null): void {
    const step = this.steps.find((each) => each.id === id);
    if (step) this.end(step, state, note);
  }

  /** A newer note of a step that runs on or stays done: it is no news of its own. */
  renew(id: string, note: string): void {
    const step = this.steps.find((each) => each.id === id);
    if (step) step.note = note;
    this.show();
  }

  finish(phase: string): void {
    this.finishedAt = new Date().toISOString();
    this.waitingFor = null;
    this.enter(phase);
  }

  private row(id: string, title: string): Step {
    const known = this.steps.find((each) => each.id === id);
    if (known) return known;
    const step: Step = { id, title, state: 'waiting', startedAt: null, finishedAt: null, note: null };
    this.steps.push(step);
    return step;
  }

  private end(step: Step, state: StepState, note: string | null): void {
    Object.assign(step, { state, finishedAt: new Date().toISOString(), note });
    this.show();
  }

  private show(): void {
    // One cell for sign and title, and spaces that hold: the Web UI gives its tables neither padding nor borders.
    const rows = this.steps.map(({ state, title, startedAt, finishedAt, note }) => {
      const took =
        startedAt && finishedAt
          ? `\u00a0${((Date.parse(finishedAt) - Date.parse(startedAt)) / 1_000).toFixed(1)}\u00a0s\u00a0`
          : '';
      return `| ${STEP_SIGNS[state]}\u00a0${inCell(title)} | ${took} | ${inCell(shortened(note ?? ''))} |`;
    });
    setCurrentDetails(
      [
        `**${this.phase}**`,
        ...(this.waitingFor ? ['', `Waiting for: **${this.waitingFor}**`] : []),
        ...(rows.length > 0 ? ['', '| step | took | |', '|---|---:|---|', ...rows] : []),
        ...(this.messages.length > 0 ? ['', ...this.messages.map((message) => `- ${message}`)] : []),
      ].join('\n'),
    );
  }
}
