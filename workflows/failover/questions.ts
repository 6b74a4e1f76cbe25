import { refuse } from '../commands';
import type { Command } from '../../core/runs';

export type Decision = 'retry' | 'skip';

interface Question {
  readonly title: string;
  readonly reason: string;
  decision: Decision | null;
}

/** Steps that may be left out: no data is at risk without them. */
const SKIPPABLE = /^(service|verify|lineage|dns)/;

/** What a failover asks people about steps that failed for good; steps run side by side, so there may be several at once. */
export class Questions {
  private readonly open = new Map<string, Question>();

  ask(id: string, title: string, reason: string): Question {
    const question: Question = { title, reason, decision: null };
    this.open.set(id, question);
    return question;
  }

  answered(id: string): void {
    this.open.delete(id);
  }

  /** In words, for the status; null where nothing is asked. */
  words(abortable: boolean): string | null {
    if (this.open.size === 0) return null;
    const each = [...this.open].map(([id, { title, reason }]) => `"${title}" (step ${id}): ${reason}`);
    return `a decision (retry, skip${abortable ? ' or abort' : ''}) on ${each.join('; ')}`;
  }

  /** Throws what the person is told where the command fits no question. */
  check(decision: Decision, { step, reason }: Command): void {
    if (this.open.size === 0) throw refuse('no step waits for a decision');
    const ids = [...this.open.keys()];
    if (step !== undefined && !this.open.has(step)) {
      throw refuse(`step ${step} waits for no decision; these do: ${ids.join(', ')}`);
    }
    if (decision === 'retry') return;
    if (!reason?.trim()) throw refuse('a reason is required');
    if (step === undefined && ids.length > 1) throw refuse(`say which step: ${ids.join(', ')}`);
    if (!SKIPPABLE.test(step ?? ids[0] ?? '')) throw refuse('this step cannot be skipped: data would be at risk');
  }

  /** A retry without a step means all of them. */
  decide(decision: Decision, { step }: Command): void {
    for (const [id, question] of this.open) if (step === undefined || step === id) question.decision = decision;
  }
}
