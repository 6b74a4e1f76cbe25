import { defineQuery, setHandler } from '@temporalio/workflow';
import {
  type ChecklistPlan,
  evidenceOf,
  type Finding,
  isOpen,
  type ItemStatus,
  looked,
  notYet,
  whyNotSign,
} from '../../core/checklist';
import type { ChecklistInput, ChecklistOutcome, ChecklistStatus } from '../../core/checklist-runs';
import type { Decision } from '../../core/report/run-report';
import { type Command, commands, queries, type StepState } from '../../core/runs';
import { onCommand, refuse } from '../commands';
import { StepTable } from '../step-table';

const STEP_STATES: Readonly<Record<ItemStatus['state'], StepState>> = {
  open: 'waiting',
  failing: 'failed',
  passed: 'done',
  signed: 'done',
};

const unsigned = (item: ItemStatus) => [evidenceOf(item), 'nobody has signed it'].filter((part) => part).join('; ');

/** The people's side of a checklist: what is on it, who signed what, and what the `status` query answers. */
export class ChecklistControl {
  readonly steps: StepTable;
  readonly decisions: Decision[] = [];
  items: readonly ItemStatus[] = [];
  outcome: ChecklistOutcome | null = null;
  private plan: ChecklistPlan | null = null;
  private readonly input: ChecklistInput;

  constructor(input: ChecklistInput) {
    this.input = input;
    this.steps = new StepTable('checklist', input.application);
    setHandler(defineQuery<ChecklistStatus>(queries.status), () => this.status());
    onCommand(
      commands.sign,
      (command) => this.requireSignable(command),
      (command) => this.sign(command),
      (message) => this.steps.say(message),
    );
  }

  begin(plan: ChecklistPlan): void {
    this.plan = plan;
    this.items = plan.items.map(notYet);
    for (const { id, title } of plan.items) this.steps.announce(id, title);
  }

  get open(): readonly ItemStatus[] {
    return this.items.filter(isOpen);
  }

  get dueAt(): string | null {
    return this.plan && new Date(Date.parse(this.steps.startedAt) + this.plan.dueSeconds * 1_000).toISOString();
  }

  /** Looks at an item and shows that it is being done. */
  async look(id: string, ask: () => Promise<Finding>): Promise<void> {
    const item = this.item(id);
    const finding = await this.steps.run(id, item.title, ask);
    this.replace(looked(this.item(id), finding, new Date().toISOString()));
  }

  /** Nothing is waited for any more. */
  end(outcome: ChecklistOutcome): void {
    this.outcome = outcome;
    for (const item of this.open) if (item.state === 'open') this.steps.mark(item.id, 'failed', unsigned(item));
  }

  status(): ChecklistStatus {
    const { items, dueAt, outcome } = this;
    return { ...this.steps.status(), period: this.input.period, items, dueAt, outcome };
  }

  private requireSignable(command: Command): void {
    if (!this.plan) throw refuse('what is on this list is being read: try again in a moment');
    if (this.outcome) throw refuse(`this list is over: ${this.outcome}`);
    const objection = whyNotSign(this.items, this.plan.signers, command);
    if (objection !== null) throw refuse(objection);
  }

  private sign({ by, step = '', reason = '' }: Command): void {
    const [at, item] = [new Date().toISOString(), this.item(step)];
    const note = item.finding?.holds === false ? 'although its check did not hold' : null;
    this.decisions.push({ command: 'sign', by, at, reason, step, note });
    this.replace({ ...item, state: 'signed', signedBy: by, note: reason, signedAt: at });
  }

  private item(id: string): ItemStatus {
    const found = this.items.find((each) => each.id === id);
    if (!found) throw refuse(`there is no item "${id}"`);
    return found;
  }

  private replace(item: ItemStatus): void {
    this.items = this.items.map((each) => (each.id === item.id ? item : each));
    this.steps.mark(item.id, STEP_STATES[item.state], evidenceOf(item));
    const waiting = this.open.map(({ id }) => id);
    this.steps.waitingFor = waiting.length > 0 ? `a signature (sign) for ${waiting.join(', ')}` : null;
    this.steps.enter(this.steps.phase);
  }
}
