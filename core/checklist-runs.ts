import type { ChecklistPeriod, ItemStatus } from './checklist';
import type { RunStatus } from './runs';

/** Started by a schedule; lives until everything on the list is done, or the list is overdue. */
export interface ChecklistInput {
  readonly application: string;
  readonly period: ChecklistPeriod;
  readonly requestedBy: string;
}

export type ChecklistOutcome = 'done' | 'overdue';

export interface ChecklistResult {
  readonly application: string;
  readonly period: ChecklistPeriod;
  readonly outcome: ChecklistOutcome;
  readonly items: readonly ItemStatus[];
}

/** What the `status` query answers: that of every run, and the list itself. */
export interface ChecklistStatus extends RunStatus {
  readonly period: ChecklistPeriod;
  readonly items: readonly ItemStatus[];
  /** Null before it is known what is on the list. */
  readonly dueAt: string | null;
  readonly outcome: ChecklistOutcome | null;
}
