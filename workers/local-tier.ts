import type { LocalCopies } from '../adapters/volumes/local-copies';
import { reasonOf } from '../core/errors';
import { logger } from './runtime';

/** Local copies are kept for hours at the least: one that is over goes within this time. */
const EVERY_MILLISECONDS = 15 * 60_000;

/** Removes local copies when their time is over, as long as the worker lives: nobody else can reach its disk. */
export function keepLocalTier(copies: ReadonlyMap<string, LocalCopies>, signal: AbortSignal): void {
  const prune = async () => {
    for (const [application, each] of copies) {
      try {
        const gone = await each.prune(Date.now());
        for (const copy of gone) logger.info({ application, ...copy }, 'removed the local copy of a backup');
      } catch (error) {
        // The next round tries again; until then they take room and nothing else.
        logger.warn({ application, error: reasonOf(error) }, 'local copies could not be removed');
      }
    }
  };
  void prune();
  const timer = setInterval(() => void prune(), EVERY_MILLISECONDS);
  signal.addEventListener('abort', () => clearInterval(timer), { once: true });
}
