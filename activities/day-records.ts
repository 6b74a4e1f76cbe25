import { hasCode } from '../core/errors';
import type { DayRecord } from '../core/day-records';
import { layout } from '../core/layout';
import type { Repository } from '../core/repository';

/** What is kept of that day; null where nothing is, or what is there cannot be read: then nothing is known of it. */
export async function readDay(control: Pick<Repository, 'read'>, day: string, what: string): Promise<unknown> {
  try {
    return JSON.parse((await control.read(layout.day(day, what))).toString('utf8'));
  } catch (error) {
    if (hasCode(error, 'NotFound') || error instanceof SyntaxError) return null;
    throw error;
  }
}

/**
 * Reads, changes and keeps. Of two who do so at once the later one stays: what the other one saw in that moment is lost, which
 * a report shows as not known.
 */
export async function changeDay<R extends DayRecord>(
  control: Pick<Repository, 'read' | 'put'>,
  day: string,
  what: string,
  change: (before: R | null) => R,
): Promise<void> {
  const stored = (await readDay(control, day, what)) as R | null;
  const before = stored?.formatVersion === 1 && stored.day === day ? stored : null;
  const after = change(before);
  if (after !== before) await control.put(layout.day(day, what), Buffer.from(`${JSON.stringify(after)}\n`));
}
