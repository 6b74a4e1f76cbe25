import { condition } from '@temporalio/workflow';
import { failure } from '../../core/errors';
import { whyNotApprover } from '../../core/failover-policy';
import type { ApprovalCard, FailOverCommand } from '../../core/role-change-runs';
import type { Command } from '../../core/runs';
import { refuse } from '../commands';
import type { Approval, FailoverControl } from './control';

export interface CommandRule {
  /** Throws while the command makes no sense, whoever sends it. */
  possible(): void;
  /** Throws what is wrong with this one. */
  check?(command: Command): void;
  act(command: Command): void | Promise<void>;
}

export type CommandRules = Readonly<Record<FailOverCommand, CommandRule>>;

/** The commands that would be taken now. */
export function accepted(rules: CommandRules): FailOverCommand[] {
  return (Object.keys(rules) as FailOverCommand[]).filter((name) => {
    try {
      rules[name].possible();
      return true;
    } catch {
      return false; // its reason is for the person who sends the command all the same
    }
  });
}

/** Which command a failover takes when, and what it changes. */
export function commandRules(control: FailoverControl): CommandRules {
  const running = () => {
    if (control.outcome) throw refuse(`this ${control.kind} is over: ${control.outcome}`);
  };
  const undecided = () => {
    running();
    if (control.approval) throw refuse(`already approved by ${control.approval.by}`);
    if (control.rejectedBy) throw refuse(`already rejected by ${control.rejectedBy.by}`);
    if (control.abortedBy) throw refuse(`already aborted by ${control.abortedBy.by}`);
  };
  const beforeThePivot = () => {
    running();
    if (control.pivotPassed)
      throw refuse('a promotion may have happened: there is only the way forward, then a failback');
  };
  const wantsReason = ({ reason }: Command) => {
    if (!reason?.trim()) throw refuse('a reason is required');
  };
  const approver = ({ by }: Command) => {
    const objection = control.policy && whyNotApprover(by, control.input.requestedBy, control.policy);
    if (objection) throw refuse(objection);
  };
  const cardSeen = ({ card: number }: Command): ApprovalCard => {
    const newest = control.cards.at(-1);
    const seen = number === undefined ? newest : control.cards.find((card) => card.number === number);
    if (!seen) throw refuse(`card ${number} is not shown any more: look at card ${newest?.number} and decide again`);
    return seen;
  };

  return {
    approve: {
      possible() {
        undecided();
        if (control.cards.length === 0 || !control.policy)
          throw refuse('there is nothing to approve yet: the loss is still being measured');
      },
      check(command) {
        approver(command);
        cardSeen(command);
      },
      act: (command) => approve(control, command.by, cardSeen(command)),
    },
    reject: {
      possible: undecided,
      check: wantsReason,
      act: ({ by, reason }) => void (control.rejectedBy = { by, reason: reason ?? '' }),
    },
    retry: {
      possible: () => control.questions.wanted('retry'),
      check: (command) => control.questions.check('retry', command),
      act: (command) => control.questions.decide('retry', command),
    },
    skip: {
      possible: () => control.questions.wanted('skip'),
      check: (command) => control.questions.check('skip', command),
      act(command) {
        control.steps.say(`${command.by} skipped ${command.step ?? 'a step'}: ${command.reason}`);
        control.questions.decide('skip', command);
      },
    },
    attest: {
      possible() {
        running();
        if (control.pivotPassed) throw refuse('the promotion has begun already');
        if (!control.approval?.taken) throw refuse(`nothing is fenced yet: the ${control.kind} is not approved`);
        control.questions.wanted('attest');
      },
      check(command) {
        wantsReason(command);
        approver(command);
      },
      act: ({ by, reason }) => void (control.attestation = { by, reason: reason ?? '', at: new Date().toISOString() }),
    },
    force: {
      possible() {
        running();
        if (control.force) throw refuse(`already attested by ${control.force.by}`);
        const known = control.card?.losses.some(({ mustForce }) => mustForce !== undefined) ?? false;
        if (!known || control.pivotPassed) control.questions.wanted('force');
      },
      check(command) {
        wantsReason(command);
        approver(command);
      },
      act: ({ by, reason }) => void (control.force = { by, reason: reason ?? '', at: new Date().toISOString() }),
    },
    abort: {
      possible: beforeThePivot,
      check: wantsReason,
      act: ({ by, reason }) => void (control.abortedBy = { by, reason: reason ?? '' }),
    },
    pause: {
      possible() {
        running();
        if (control.paused) throw refuse('it is paused already');
      },
      act: () => void (control.paused = true),
    },
    resume: {
      possible() {
        running();
        if (!control.paused) throw refuse('it is not paused');
      },
      act: () => void (control.paused = false),
    },
  };
}

/** Answers the approver when the loss was measured once more: the approval was taken, or what it does not cover. */
async function approve(control: FailoverControl, by: string, card: ApprovalCard): Promise<void> {
  const approval: Approval = { by, at: new Date().toISOString(), card, taken: false, notCovered: [] };
  control.approval = approval;
  const settled = () => approval.taken || approval.notCovered.length > 0 || control.outcome !== null;
  await condition(settled);
  if (approval.notCovered.length === 0) return;
  throw failure(
    'ApprovalOutdated',
    `the loss became worse than what card ${card.number} showed: ${approval.notCovered.join('; ')}`,
  );
}
