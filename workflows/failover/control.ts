import { condition, defineQuery, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import type { FailoverPolicy } from '../../core/application';
import { failure, hasCode } from '../../core/errors';
import { whyNotApprover } from '../../core/failover-policy';
import type { FenceEvidence } from '../../core/fencing';
import {
  commands,
  queries,
  type ApprovalCard,
  type FailOverInput,
  type FailOverOutcome,
  type FailOverStatus,
} from '../../core/runs';
import { onCommand, refuse } from '../commands';
import { reasonOf, StepTable, wasCancelled } from '../step-table';
import { type Decision, Questions } from './questions';

/** Until the config's own value is known. */
const DEFAULT_ESCALATION_SECONDS = 600;

/**
 * The people's side of a failover: approve, reject, abort, pause, resume, retry, skip and attest, and what the `status`
 * query answers. The runbook itself is in `workflows/fail-over.ts`.
 */
export class FailoverControl {
  readonly steps: StepTable;
  card: ApprovalCard | null = null;
  approvedBy: string | null = null;
  approvedAt: string | null = null;
  rejectedBy: { by: string; reason: string } | null = null;
  abortedBy: { by: string; reason: string } | null = null;
  attestation: { by: string; reason: string; at: string } | null = null;
  epoch: number | null = null;
  evidence: FenceEvidence[] = [];
  fromSite: string | null = null;
  outcome: FailOverOutcome | null = null;
  /** Past the promotion there is no way back, only forward. */
  pivotPassed = false;
  policy: FailoverPolicy | null = null;
  /** Tells people that the run waits for them; set by the run that knows how. */
  onWaiting: (title: string, reason: string) => Promise<void> = async () => {};
  private paused = false;
  private readonly questions = new Questions();
  private readonly input: FailOverInput;

  constructor(input: FailOverInput) {
    this.input = input;
    this.steps = new StepTable('failover', input.application);
    upsertSearchAttributes({ DrSite: [input.toSite] });
    // Replaces the plain status of the step table by the one that also has the card, the approver and the evidence.
    setHandler(defineQuery<FailOverStatus>(queries.status), () => this.status());
    this.listen();
  }

  status(): FailOverStatus {
    const { card, approvedBy, approvedAt, epoch, evidence, fromSite, outcome } = this;
    const plain = { ...this.steps.status(), kind: 'failover' as const };
    return { ...plain, fromSite, toSite: this.input.toSite, card, approvedBy, approvedAt, epoch, evidence, outcome };
  }

  /** Resolves with the decision; a timeout escalates and never approves. */
  async approval(
    escalate: () => Promise<void>,
    escalateAfterSeconds: number,
  ): Promise<'approved' | 'rejected' | 'aborted'> {
    this.steps.waitingFor = 'approval (approve, reject or abort)';
    this.steps.enter('waiting for approval');
    const decided = () => this.approvedBy !== null || this.rejectedBy !== null || this.abortedBy !== null;
    while (!(await condition(decided, escalateAfterSeconds * 1_000))) await escalate();
    this.steps.waitingFor = null;
    if (this.rejectedBy) return 'rejected';
    return this.abortedBy ? 'aborted' : 'approved';
  }

  /**
   * Runs a step. When it fails for good people are told and decide: try it again, skip it where that is possible, or
   * (before the pivot) abort. Pausing holds the run before the next step. Resolves with null for a skipped step.
   */
  async step<T>(id: string, title: string, work: () => Promise<T>, note?: (result: T) => string): Promise<T | null> {
    for (;;) {
      await this.clearance();
      try {
        return await this.steps.run(id, title, work, note);
      } catch (error) {
        if (wasCancelled(error)) throw error;
        if ((await this.ask(id, title, error)) === 'skip') {
          this.steps.mark(id, 'skipped', `skipped after: ${reasonOf(error)}`);
          return null;
        }
      }
    }
  }

  /** A step that nothing goes on without. */
  async must<T>(id: string, title: string, work: () => Promise<T>, note?: (result: T) => string): Promise<T> {
    const result = await this.step(id, title, work, note);
    if (result === null) throw failure('Aborted', `${title} was skipped`);
    return result;
  }

  /** Waits while paused; throws Aborted where somebody aborted before the pivot. */
  async clearance(): Promise<void> {
    if (this.paused) {
      this.show();
      await condition(() => !this.paused || this.mustStop());
      this.show();
    }
    if (this.mustStop()) {
      throw failure('Aborted', `aborted by ${this.abortedBy?.by ?? 'somebody'}: ${this.abortedBy?.reason ?? ''}`);
    }
  }

  private mustStop(): boolean {
    return this.abortedBy !== null && !this.pivotPassed;
  }

  private async ask(id: string, title: string, error: unknown): Promise<Decision> {
    const question = this.questions.ask(id, title, reasonOf(error));
    const attestedBefore = this.attestation;
    // Only a fence without proof is answered by somebody who vouches for it, and only by one who did so after being asked.
    const attested = () => hasCode(error, 'FencingUnconfirmed') && this.attestation !== attestedBefore;
    const decided = () => question.decision !== null || this.mustStop() || attested();
    this.show();
    do await this.onWaiting(title, question.reason);
    while (!(await condition(decided, (this.policy?.escalateAfterSeconds ?? DEFAULT_ESCALATION_SECONDS) * 1_000)));
    this.questions.answered(id);
    this.show();
    await this.clearance();
    return question.decision ?? 'retry';
  }

  /** What the run waits for, in the status and in the Web UI. */
  private show(): void {
    this.steps.waitingFor = this.paused ? 'resume (paused)' : this.questions.words(!this.pivotPassed);
    this.steps.enter(this.steps.phase);
  }

  private listen(): void {
    const noted = (message: string) => this.steps.say(message);
    const wantsReason = ({ reason }: { reason?: string }) => {
      if (!reason?.trim()) throw refuse('a reason is required');
    };
    onCommand(
      commands.approve,
      ({ by }) => {
        this.undecided();
        if (!this.card || !this.policy)
          throw refuse('there is nothing to approve yet: the loss is still being measured');
        const objection = whyNotApprover(by, this.input.requestedBy, this.policy);
        if (objection) throw refuse(objection);
      },
      ({ by }) => {
        this.approvedBy = by;
        this.approvedAt = new Date().toISOString();
      },
      noted,
    );
    onCommand(
      commands.reject,
      (command) => {
        this.undecided();
        wantsReason(command);
      },
      ({ by, reason }) => (this.rejectedBy = { by, reason: reason ?? '' }),
      noted,
    );
    onCommand(
      commands.abort,
      (command) => {
        if (this.outcome) throw refuse(`this failover is over: ${this.outcome}`);
        if (this.pivotPassed)
          throw refuse('a promotion may have happened: there is only the way forward, then a failback');
        wantsReason(command);
      },
      ({ by, reason }) => (this.abortedBy = { by, reason: reason ?? '' }),
      noted,
    );
    onCommand(
      commands.pause,
      () => this.running(),
      () => (this.paused = true),
      noted,
    );
    onCommand(
      commands.resume,
      () => this.running(),
      () => (this.paused = false),
      noted,
    );
    onCommand(
      commands.retry,
      (command) => this.questions.check('retry', command),
      (command) => this.questions.decide('retry', command),
      noted,
    );
    onCommand(
      commands.skip,
      (command) => this.questions.check('skip', command),
      (command) => {
        this.steps.say(`${command.by} skipped ${command.step ?? 'a step'}: ${command.reason}`);
        this.questions.decide('skip', command);
      },
      noted,
    );
    onCommand(
      commands.attest,
      (command) => {
        this.running();
        if (this.pivotPassed) throw refuse('the promotion has begun already');
        if (!this.policy || this.approvedBy === null)
          throw refuse('nothing is fenced yet: the failover is not approved');
        wantsReason(command);
        const objection = whyNotApprover(command.by, this.input.requestedBy, this.policy);
        if (objection) throw refuse(objection);
      },
      ({ by, reason }) => (this.attestation = { by, reason: reason ?? '', at: new Date().toISOString() }),
      noted,
    );
  }

  private running(): void {
    if (this.outcome) throw refuse(`this failover is over: ${this.outcome}`);
  }

  private undecided(): void {
    this.running();
    if (this.approvedBy) throw refuse(`already approved by ${this.approvedBy}`);
    if (this.rejectedBy) throw refuse(`already rejected by ${this.rejectedBy.by}`);
    if (this.abortedBy) throw refuse(`already aborted by ${this.abortedBy.by}`);
  }
}
