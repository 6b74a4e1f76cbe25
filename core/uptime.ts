import type { DayRecord } from './day-records';

/** `unknown`: nobody asked, or who asked could not tell. It is never counted as up. */
export type MinuteState = 'up' | 'down' | 'unknown';

/** Whether the application answered through its public name, minute by minute: `days/<day>/uptime.json`. */
export interface UptimeDay extends DayRecord {
  /** One sign for each minute of the day: `U` up, `D` down, `.` unknown. */
  readonly minutes: string;
  /** What was seen, by the minute of the day at which it began to be so. */
  readonly problems: Readonly<Record<string, string>>;
}

/** What was seen from one instant to another: each minute that it touches was so. */
export interface Stretch {
  readonly from: string;
  readonly to: string;
  readonly state: Exclude<MinuteState, 'unknown'>;
  /** Why it is down. */
  readonly problem: string | null;
}

export const MINUTES_OF_DAY = 1_440;
const MINUTE_MILLISECONDS = 60_000;
/** An application that comes and goes all day long would else make a long record of it. */
const PROBLEMS_KEPT = 50;
const PROBLEM_LENGTH = 200;

const SIGNS: Readonly<Record<MinuteState, string>> = { up: 'U', down: 'D', unknown: '.' };
const STATES: Readonly<Record<string, MinuteState>> = { U: 'up', D: 'down' };

export const unknownDay = (day: string): UptimeDay => ({
  ...{ formatVersion: 1, day, problems: {} },
  minutes: SIGNS.unknown.repeat(MINUTES_OF_DAY),
});

/** Null for what is no such record: its minutes are not known. */
export function readUptimeDay(day: string, stored: unknown): UptimeDay | null {
  const found = stored as Partial<UptimeDay> | null;
  const isOne = found?.formatVersion === 1 && found.day === day && /^[UD.]{1440}$/.test(found.minutes ?? '');
  return isOne ? { formatVersion: 1, day, minutes: found.minutes ?? '', problems: found.problems ?? {} } : null;
}

/** The days that a stretch touches. */
export function daysOfStretch({ from, to }: Pick<Stretch, 'from' | 'to'>): string[] {
  return from.slice(0, 10) === to.slice(0, 10) ? [from.slice(0, 10)] : [from.slice(0, 10), to.slice(0, 10)];
}

/**
 * Notes what was seen. Down wins over up, and both over unknown, so that several who look, in any order, come to the same.
 */
export function withStretch(day: UptimeDay, { from, to, state, problem }: Stretch): UptimeDay {
  const midnight = Date.parse(`${day.day}T00:00:00.000Z`);
  const minuteAt = (iso: string) => Math.floor((Date.parse(iso) - midnight) / MINUTE_MILLISECONDS);
  const first = Math.max(0, minuteAt(from));
  const last = Math.min(MINUTES_OF_DAY - 1, minuteAt(to));
  if (last < first) return day;
  const signs = day.minutes.split('');
  for (let minute = first; minute <= last; minute += 1)
    if (state === 'down' || signs[minute] === SIGNS.unknown) signs[minute] = SIGNS[state];
  const isNew = state === 'down' && problem !== null && day.minutes[first - 1] !== SIGNS.down;
  const noted = Object.keys(day.problems).length < PROBLEMS_KEPT && day.problems[first] === undefined;
  const problems = isNew && noted ? { ...day.problems, [first]: problem.slice(0, PROBLEM_LENGTH) } : day.problems;
  return { ...day, minutes: signs.join(''), problems };
}

/** A run of minutes in which it did not answer; minutes that are not known end one. */
export interface Outage {
  readonly from: string;
  readonly minutes: number;
  readonly problem: string | null;
}

export interface UptimeCount {
  readonly day: string;
  readonly upMinutes: number;
  readonly downMinutes: number;
  readonly unknownMinutes: number;
}

/** Only the minutes from `from` to before `until`; a day without a record is unknown. */
export function countDay(day: UptimeDay, from: string, until: string): UptimeCount {
  const count = { up: 0, down: 0, unknown: 0 };
  for (const { state } of minutesOf(day, from, until)) count[state] += 1;
  return { day: day.day, upMinutes: count.up, downMinutes: count.down, unknownMinutes: count.unknown };
}

/** Oldest first; days in order. One that lasts over midnight is one. */
export function outagesOf(days: readonly UptimeDay[], from: string, until: string): Outage[] {
  const found: { from: string; minutes: number; problem: string | null; next: number }[] = [];
  for (const day of days) {
    for (const { at, minute, state } of minutesOf(day, from, until)) {
      if (state !== 'down') continue;
      const last = found.at(-1);
      if (last?.next === at) Object.assign(last, { minutes: last.minutes + 1, next: at + MINUTE_MILLISECONDS });
      else
        found.push({
          from: new Date(at).toISOString(),
          minutes: 1,
          problem: day.problems[minute] ?? null,
          next: at + MINUTE_MILLISECONDS,
        });
    }
  }
  return found.map(({ from: begun, minutes, problem }) => ({ from: begun, minutes, problem }));
}

function* minutesOf(day: UptimeDay, from: string, until: string) {
  const midnight = Date.parse(`${day.day}T00:00:00.000Z`);
  const [begin, end] = [Date.parse(from), Date.parse(until)];
  for (let minute = 0; minute < MINUTES_OF_DAY; minute += 1) {
    const at = midnight + minute * MINUTE_MILLISECONDS;
    if (at < begin || at >= end) continue;
    yield { at, minute, state: STATES[day.minutes[minute] ?? ''] ?? ('unknown' as const) };
  }
}
