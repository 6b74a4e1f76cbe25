import { setTimeout as delay } from 'node:timers/promises';

/** Looks four times a second until there is an answer; null when the deadline (epoch milliseconds) passes without. */
export async function pollUntil<T>(
  deadline: number,
  signal: AbortSignal,
  look: () => Promise<T | null>,
): Promise<T | null> {
  for (;;) {
    const found = await look();
    if (found !== null) return found;
    if (Date.now() >= deadline) return null;
    await delay(250, undefined, { signal });
  }
}
