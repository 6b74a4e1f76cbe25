import { z } from 'zod';
import { CHECK_NAMES, CHECKLIST_PERIODS, type ChecklistPeriod, type ChecklistPlan } from '../core/checklist';
import { DEFAULT_ITEMS } from '../core/default-checklists';
import { duration, name } from './values';

const DAY_SECONDS = 86_400;

/** A list that is still open when the next one of its period is due would be in its way: the schedule skips that one. */
const LONGEST_SECONDS: Readonly<Record<ChecklistPeriod, number>> = {
  daily: DAY_SECONDS,
  weekly: 7 * DAY_SECONDS,
  monthly: 28 * DAY_SECONDS,
  quarterly: 89 * DAY_SECONDS,
};

/** Each reminder looks again at what fails: this many are a history of a few thousand events at most. */
const MOST_REMINDERS = 60;

const item = z.strictObject({
  name,
  title: z.string().min(1).max(80),
  what: z.string().min(1).max(200).meta({ description: 'What is to be looked at' }),
  check: z.enum(CHECK_NAMES).optional().meta({ description: 'What a machine looks at; left out: a person alone' }),
  sign: z.boolean().default(true).meta({ description: 'Whether a person signs, also where the check holds' }),
});

const hours = (count: number) => {
  const text = count % 24 === 0 ? `${count / 24}d` : `${count}h`;
  return { text, milliseconds: count * 3_600_000, seconds: count * 3_600 };
};

function listSettings(period: ChecklistPeriod, remind: number, escalate: number, due: number) {
  const known = DEFAULT_ITEMS[period].map(({ id }) => id);
  return z
    .strictObject({
      remindEvery: duration.default(hours(remind)).meta({ description: 'Told again, and looked at again, this often' }),
      escalateAfter: duration.default(hours(escalate)).meta({ description: 'Told as critical from then on' }),
      dueWithin: duration.default(hours(due)).meta({ description: 'Overdue then: the list ends as it is' }),
      leaveOut: z.array(z.enum(known as [string, ...string[]])).default([]),
      items: z.array(item).default([]).meta({ description: "Items besides the strategy's" }),
    })
    .superRefine(({ remindEvery, escalateAfter, dueWithin, items }, context) => {
      const wrong = (path: PropertyKey[], message: string) => context.addIssue({ code: 'custom', path, message });
      if (dueWithin.seconds > LONGEST_SECONDS[period])
        wrong(
          ['dueWithin'],
          `must be at most ${hours(LONGEST_SECONDS[period] / 3_600).text}: the next ${period} list begins then`,
        );
      if (escalateAfter.seconds >= dueWithin.seconds) wrong(['escalateAfter'], 'must be shorter than dueWithin');
      if (remindEvery.seconds * MOST_REMINDERS < dueWithin.seconds)
        wrong(['remindEvery'], `must be at least a ${MOST_REMINDERS}th of dueWithin`);
      items.forEach(({ name: id, check, sign }, index) => {
        const others = [...known, ...items.slice(0, index).map((each) => each.name)];
        if (others.includes(id)) wrong(['items', index, 'name'], `the list has an item "${id}" already`);
        if (check === undefined && !sign) wrong(['items', index, 'sign'], 'must be true where there is no check');
      });
    })
    .prefault({});
}

export const checklistSettings = z
  .strictObject({
    signers: z.array(z.string().min(1)).default([]).meta({ description: 'Who may sign; anybody where it is left out' }),
    daily: listSettings('daily', 6, 12, 20),
    weekly: listSettings('weekly', 24, 4 * 24, 6 * 24),
    monthly: listSettings('monthly', 2 * 24, 10 * 24, 14 * 24),
    quarterly: listSettings('quarterly', 7 * 24, 45 * 24, 60 * 24),
  })
  .prefault({})
  .meta({ description: 'What `run: <period>-checklist` of a schedule asks for' });

export const CHECKLIST_PURPOSES = CHECKLIST_PERIODS.map((period) => `${period}-checklist` as const);

/** The period of a schedule's purpose; null for one that is no checklist. */
export function periodOf(purpose: string): ChecklistPeriod | null {
  return CHECKLIST_PERIODS.find((period) => purpose === `${period}-checklist`) ?? null;
}

export function checklistPlan(
  { checklists }: { readonly checklists: z.output<typeof checklistSettings> },
  period: ChecklistPeriod,
): ChecklistPlan {
  const { remindEvery, escalateAfter, dueWithin, leaveOut, items } = checklists[period];
  return {
    period,
    items: [
      ...DEFAULT_ITEMS[period].filter(({ id }) => !leaveOut.includes(id)),
      ...items.map(({ name: id, title, what, check = null, sign }) => ({ id, title, what, check, sign })),
    ],
    remindSeconds: remindEvery.seconds,
    escalateSeconds: escalateAfter.seconds,
    dueSeconds: dueWithin.seconds,
    signers: checklists.signers,
  };
}
