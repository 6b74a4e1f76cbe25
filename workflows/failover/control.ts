import { condition, defineQuery, setHandler, upsertSearchAttributes } from '@temporalio/workflow';
import type { FailoverPolicy } from '../../core/application';
import { failure, hasCode, reasonOf } from '../../core/errors';
import type { FenceEvidence, ForceAttestation } from '../../core/fencing';
import type { ApprovalCard, FailOverInput, FailOverOutcome, FailOverStatus } from '../../core/role-change-runs';
import { queries, type Command, type RoleChangeKind } from '../../core/runs';
import type { LossEstimate } from '../../core/replication';
import type { Decision as DecisionMade } from '../../core/report/run-report';
import { onCommand } from '../commands';
import { StepTable, wasCancelled } from '../step-table';
import { accepted, type CommandRules, commandRules } from './command-rules';
import { type Decision, Questions } from './questions';

/** Until the config's own value is known. */
const DEFAULT_ESCALATION_SECONDS = 600;

/** An approval that came. Whether it is taken shows when the loss was measured once more. */
export interface Approval {
  readonly by: string;
  readonly at: string;
  /** The card that the approver saw. */
  readonly card: ApprovalCard;
  taken: boolean;
  /** What it does not cover; empty until that is known. */
  notCovered: readonly string[];
}

/**
 * The people's side of a role change: what they decided, what they are asked, and what the `status` query answers. Which
 * command is taken when is in `command-rules.ts`, the runbooks themselves in `workflows/fail-over.ts` and `switch-over.ts`.
 */
export class FailoverControl {
  readonly steps: StepTable;
  /** Every card that was shown, newest last. */
  readonly cards: ApprovalCard[] = [];
  approval: Approval | null = null;
  /** Every command that was taken, oldest first. */
  readonly decisions: DecisionMade[] = [];
  lossesAtApproval: readonly LossEstimate[] = [];
  rejectedBy: { by: string; reason: string } | null = null;
  abortedBy: { by: string; reason: string } | null = null;
  attestation: { by: string; reason: string; at: string } | null = null;
  /** An approver's word that what is left of a store without a majority goes on alone. */
  force: ForceAttestation | null = null;
  epoch: number | null = null;
  evidence: FenceEvidence[] = [];
  fromSite: string | null = null;
  outcome: FailOverOutcome | null = null;
  /** Past the promotion there is no way back, only forward. */
  pivotPassed = false;
  policy: FailoverPolicy | null = null;
  /** Tells people that the run waits for them; set by the run that knows how. */
  onWaiting: (title: string, reason: string) => Promise<void> = async () => {};
  paused = false;
  readonly questions = new Questions();
  readonly input: FailOverInput;
  readonly kind: RoleChangeKind;
  private readonly rules: CommandRules;

  constructor(input: FailOverInput, kind: RoleChangeKind = 'failover') {
    this.input = input;
    this.kind = kind;
    this.steps = new StepTable(kind, input.application);
    upsertSearchAttributes({ DrSite: [input.toSite] });
    // Replaces the plain status of the step table by the one that also has the card, the approver and the evidence.
    setHandler(defineQuery<FailOverStatus>(queries.status), () => this.status());
    this.rules = commandRules(this);
    for (const [name, rule] of Object.entries(this.rules)) {
      const check = (command: Command) => {
        rule.possible();
        rule.check?.(command);
      };
      onCommand(
        name,
        check,
        (command) => {
          this.record(name, command);
          return rule.act(command);
        },
        (message) => this.steps.say(message),
      );
    }
  }

  /** The newest card while people decide, the one that was approved afterwards. */
  get card(): ApprovalCard | null {
    return this.approval?.card ?? this.cards.at(-1) ?? null;
  }

  get approvedBy(): string | null {
    return this.approval?.by ?? null;
  }

  status(): FailOverStatus {
    const { card, approvedBy, epoch, evidence, fromSite, outcome, kind } = this;
    const plain = { ...this.steps.status(), kind };
    const accepts = accepted(this.rules);
    const decided = { card, accepts, approvedBy, approvedAt: this.approval?.at ?? null };
    return { ...plain, ...decided, fromSite, toSite: this.input.toSite, epoch, evidence, outcome };
  }

  /** An approval that does not cover what was measured: it was given, and does not count. */
  setAside(approval: Approval, notCovered: readonly string[]): void {
    this.approval = null;
    approval.notCovered = notCovered;
    const made = this.decisions.findLastIndex(({ command }) => command === 'approve');
    const decision = this.decisions[made];
    if (decision) this.decisions[made] = { ...decision, note: `not taken: ${notCovered.join('; ')}` };
  }

  private record(command: string, { by, reason, step }: Command): void {
    const at = new Date().toISOString();
    this.decisions.push({ command, by, at, reason: reason ?? null, step: step ?? null, note: null });
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
    const question = this.questions.ask(id, {
      title,
      reason: reasonOf(error),
      attestable: hasCode(error, 'FencingUnconfirmed'),
      forceable: hasCode(error, 'MajorityLost') && this.force === null,
    });
    const attestedBefore = this.attestation;
    // Only a fence without proof is answered by somebody who vouches for it, and only by one who did so after being asked.
    const attested = () => question.attestable && this.attestation !== attestedBefore;
    const forced = () => question.forceable && this.force !== null;
    const decided = () => question.decision !== null || this.mustStop() || attested() || forced();
    this.show();
    try {
      do await this.onWaiting(title, question.reason);
      while (!(await condition(decided, (this.policy?.escalateAfterSeconds ?? DEFAULT_ESCALATION_SECONDS) * 1_000)));
    } finally {
      this.questions.answered(id);
    }
    this.show();
    await this.clearance();
    return question.decision ?? 'retry';
  }

  /** What the run waits for, in the status and in the Web UI. */
  private show(): void {
    this.steps.waitingFor = this.paused ? 'resume (paused)' : this.questions.words(accepted(this.rules));
    this.steps.enter(this.steps.phase);
  }
}
