import { z } from 'zod';
import { CHECKLIST_PURPOSES } from './checklists';
import { cron, duration, name, timezone } from './values';

/** What a schedule can start. */
export const SCHEDULE_PURPOSES = [
  'full-backup',
  'incremental-backup',
  'health-check',
  'verify-quick',
  'verify-full',
  'verify-restore',
  'readiness',
  'retention',
  'copy',
  'drill',
  'readiness-report',
  ...CHECKLIST_PURPOSES,
] as const;
export type SchedulePurpose = (typeof SCHEDULE_PURPOSES)[number];

const schedule = z.strictObject({
  run: z.enum(SCHEDULE_PURPOSES),
  cron,
  stores: z
    .array(name)
    .min(1)
    .optional()
    .meta({ description: 'Backups, copies, verifications and retention only; every store where it is left out' }),
  timezone: timezone.optional(),
  /** What happens when the run before has not ended: skip this one, or let one wait. */
  overlap: z.enum(['skip', 'buffer-one']).default('skip'),
  /** Runs missed while Temporal was away are made up for when they are no older than this. */
  catchUp: duration.refine(({ seconds }) => seconds >= 10, 'must be at least 10s: Temporal takes no less'),
});

export const scheduleSettings = z
  .strictObject({
    timezone: timezone.default('UTC').meta({ description: 'Time zone of every schedule that names none' }),
    runs: z
      .record(name, schedule)
      .meta({ description: 'Name → what runs when; the name is part of the id in Temporal' }),
  })
  .meta({ description: 'What `drctl schedules apply` keeps in Temporal' });

export type ScheduleConfig = z.output<typeof schedule>;
