import { z } from 'zod';
import { Cron } from 'croner';
import { parseDurationMilliseconds, parseSizeBytes } from '../core/clock';
import { findFailure } from '../core/errors';

/** A duration from the config, parsed once; the unit is named where it is used. */
export interface Duration {
  readonly text: string;
  readonly milliseconds: number;
  readonly seconds: number;
}

export interface Size {
  readonly text: string;
  readonly bytes: number;
}

/** How long something is kept; `seconds` null: for ever. */
export interface KeepFor {
  readonly text: string;
  readonly seconds: number | null;
}

/** Runs a parser of core inside zod: its message becomes the issue's. */
function parsed<T>(parse: (text: string) => T): (text: string, context: z.RefinementCtx) => T {
  return (text, context) => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: findFailure(error)?.message ?? String(error) });
      return z.NEVER;
    }
  };
}

export const duration = z
  .string()
  .meta({ description: 'A duration: a number and ms, s, m, h or d', examples: ['15m'] })
  .transform(
    parsed((text): Duration => {
      const milliseconds = parseDurationMilliseconds(text);
      return { text, milliseconds, seconds: milliseconds / 1_000 };
    }),
  );

export const size = z
  .string()
  .meta({ description: 'A size: a number and B, KiB, MiB, GiB or TiB', examples: ['128MiB'] })
  .transform(parsed((text): Size => ({ text, bytes: parseSizeBytes(text) })));

const HOUR_SECONDS = 3_600;
const DAY_SECONDS = 24 * HOUR_SECONDS;
/** A month is counted as 31 days, so that "3mo" never keeps less than three calendar months; a year as the strategy does: 7 years are 2555 days. */
const KEEP_UNIT_SECONDS: Record<string, number> = {
  h: HOUR_SECONDS,
  d: DAY_SECONDS,
  w: 7 * DAY_SECONDS,
  mo: 31 * DAY_SECONDS,
  y: 365 * DAY_SECONDS,
};

export const keepFor = z
  .string()
  .regex(
    /^(\d+(h|d|w|mo|y)|forever)$/,
    'is not a time to keep: write a number and h, d, w, mo or y, such as 30d, or forever',
  )
  .meta({ description: 'How long to keep: a number and h, d, w, mo (31 days) or y (365 days), or forever' })
  .transform((text): KeepFor => {
    const match = /^(\d+)(h|d|w|mo|y)$/.exec(text);
    if (!match) return { text, seconds: null };
    return { text, seconds: Number(match[1]) * (KEEP_UNIT_SECONDS[match[2] ?? ''] ?? 0) };
  });

/** Names end up in workflow ids, keys of the repository, task queues and file names. */
export const name = z
  .string()
  .regex(
    /^[a-z][a-z0-9-]{0,62}$/,
    'is not a name: use a to z, 0 to 9 and -, starting with a letter, at most 63 characters',
  )
  .meta({ description: 'A name: a to z, 0 to 9 and -, starting with a letter' });

export const hostAndPort = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/, 'is not an address: write host:port, such as 127.0.0.1:7233');

export const cron = z
  .string()
  .meta({ description: 'When, as five cron fields: minute hour day month weekday', examples: ['0 2 * * *'] })
  .superRefine((text, context) => {
    const problem = cronProblem(text);
    if (problem === null) return;
    context.addIssue({
      code: 'custom',
      message: `is not a cron line: write minute hour day month weekday, such as 0 2 * * * (${problem})`,
    });
  });

function cronProblem(text: string): string | null {
  const [, , day, , weekday] = text.split(/\s+/);
  if (day !== '*' && weekday !== undefined && weekday !== '*') {
    // cron means "either", Temporal means "both": whoever wrote it would be surprised by one of them.
    return 'day and weekday cannot both be restricted';
  }
  try {
    // Five fields only: seconds are no matter for backups, and the strategy's lines are all of this form.
    const pattern = new Cron(text, { paused: true, mode: '5-part' });
    return pattern.nextRun() === null ? 'it never comes' : null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

export const timezone = z
  .string()
  .refine(isTimezone, 'is not a time zone: write a name of the IANA database, such as UTC or Asia/Tashkent');

function isTimezone(text: string): boolean {
  try {
    return Intl.DateTimeFormat('en', { timeZone: text }).resolvedOptions().timeZone !== '';
  } catch {
    return false; // Intl has no other way to say that it does not know a zone.
  }
}

export const percent = z.number().min(0).max(100);
