import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../core/call';

/** Often enough that a measured time is right to a tenth of a second or so, seldom enough that nobody is flooded. */
const POLL_MILLISECONDS = 100;

/** Looks until there is something; the activity's own timeout bounds it. */
export async function poll<T>(look: () => Promise<T | null>, ctx: CallContext): Promise<T> {
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}
