import type { FailOverCommand } from '../../core/role-change-runs';
import { isSkippable } from '../../core/role-change-steps';
import { refuse } from '../commands';
import type { Command } from '../../core/runs';

export type Decision = 'retry' | 'skip';

interface Question {
  readonly title: string;
  readonly reason: string;
  /** Whether somebody's word that the site is dead would answer it. */
  readonly attestable: boolean;
  /** Whether somebody's word that the promotion may be forced would answer it. */
  readonly forceable: boolean;
  decision: Decision | null;
}

/** The commands that answer a question, in the order in which people should think of them. */
const ANSWERS: readonly FailOverCommand[] = ['retry', 'skip', 'attest', 'force', 'abort'];

/** What a failover asks people about steps that failed for good; steps run side by side, so there may be several at once. */
export class Questions {
  private readonly open = new Map<string, Question>();

  ask(id: string, asked: Omit<Question, 'decision'>): Question {
    const question: Question = { ...asked, decision: null };
    this.open.set(id, question);
    return question;
  }

  answered(id: string): void {
    this.open.delete(id);
  }

  /** In words, for the status; null where nothing is asked. */
  words(accepted: readonly FailOverCommand[]): string | null {
    if (this.open.size === 0) return null;
    const each = [...this.open].map(([id, { title, reason }]) => `"${title}" (step ${id}): ${reason}`);
    const possible = ANSWERS.filter((name) => accepted.includes(name));
    return `a decision (${possible.join(', ').replace(/, (\w+)$/, ' or $1')}) on ${each.join('; ')}`;
  }

  /** Throws while no step waits for this decision, whatever the step. */
  wanted(decision: Decision | 'attest' | 'force'): void {
    if (this.open.size === 0) throw refuse('no step waits for a decision');
    if (decision === 'skip' && ![...this.open.keys()].some(isSkippable))
      throw refuse('this step cannot be skipped: data would be at risk');
    if (decision === 'attest' && ![...this.open.values()].some(({ attestable }) => attestable))
      throw refuse('no fence waits for a proof');
    if (decision === 'force' && ![...this.open.values()].some(({ forceable }) => forceable))
      throw refuse('no promotion waits to be forced');
  }

  /** Throws what the person is told where the command fits no question. */
  check(decision: Decision, { step, reason }: Command): void {
    const ids = [...this.open.keys()];
    if (step !== undefined && !this.open.has(step)) {
      throw refuse(`step ${step} waits for no decision; these do: ${ids.join(', ')}`);
    }
    if (decision === 'retry') return;
    if (!reason?.trim()) throw refuse('a reason is required');
    if (step === undefined && ids.length > 1) throw refuse(`say which step: ${ids.join(', ')}`);
    if (!isSkippable(step ?? ids[0] ?? '')) throw refuse('this step cannot be skipped: data would be at risk');
  }

  /** A retry without a step means all of them. */
  decide(decision: Decision, { step }: Command): void {
    for (const [id, question] of this.open) if (step === undefined || step === id) question.decision = decision;
  }
}
