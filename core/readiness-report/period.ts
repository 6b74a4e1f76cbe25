import { failure } from '../errors';
import type { Period } from './facts';

const MONTH = /^(\d{4})-(0[1-9]|1[0-2])$/;

const beginOf = (year: number, month: number) => new Date(Date.UTC(year, month, 1)).toISOString();

/** A month of UTC, `2026-11`, as far as it has gone. Throws UsageInvalid for what is none, or has not begun. */
export function periodOf(month: string, now: string): Period {
  const [, year, number] = MONTH.exec(month) ?? [];
  if (year === undefined || number === undefined) {
    throw failure('UsageInvalid', `"${month}" is not a month: write year and month, such as 2026-11`);
  }
  const from = beginOf(Number(year), Number(number) - 1);
  if (from >= now) throw failure('UsageInvalid', `${month} has not begun: there is nothing to report`);
  const end = beginOf(Number(year), Number(number));
  const isWhole = end <= now;
  return { month, from, until: isWhole ? end : now, isWhole };
}

/** The month that was over last. */
export function lastMonth(now: string): string {
  return beginOf(Number(now.slice(0, 4)), Number(now.slice(5, 7)) - 2).slice(0, 7);
}

export const monthBefore = (month: string): string => lastMonth(`${month}-15T00:00:00.000Z`);

/** Every day of the period, also that which has only begun. */
export function daysOf({ from, until }: Period): string[] {
  const days: string[] = [];
  for (let at = Date.parse(from); at < Date.parse(until); at += 86_400_000) {
    days.push(new Date(at).toISOString().slice(0, 10));
  }
  return days;
}

export const isWithin = ({ from, until }: Period, at: string): boolean => at >= from && at < until;

/** A report on a month that is not over has its own name: that of the whole month is not taken by a part of it. */
export const reportIdOf = ({ month, until, isWhole }: Period): string =>
  `readiness-${month}${isWhole ? '' : `-until-${until.slice(8, 10)}`}`;
