import { randomUUID } from 'node:crypto';
import { formatDuration } from '../core/clock';
import { failure } from '../core/errors';
import type { RetentionStore } from '../core/retention/records';
import { BEGIN_WITHIN_MILLISECONDS, GIVEN_UP_AFTER_MILLISECONDS } from '../core/retention/sweep-claim';

/** What a sweep may do while readers believe its claim; see core/retention/sweep-claim.ts. */
export interface SweepClaim {
  readonly name: string;
  /** Whether what was decided under it may still be deleted. */
  isOpen(): boolean;
  /** Throws RepositoryUnavailable where the deletion is not answered in time: then nobody knows whether it was done. */
  deleting(work: (signal: AbortSignal) => Promise<void>): Promise<void>;
}

/**
 * Claims the store for one look and the deletions that come of it. A claim that failed is not removed: something that it sent may
 * still be on its way. It ends by itself. Each has a name of its own, so that a try that is believed dead keeps its own.
 */
export async function underClaim<T>(
  stored: Pick<RetentionStore, 'claimSweep' | 'endSweep'>,
  runId: string,
  work: (claim: SweepClaim) => Promise<T>,
): Promise<T> {
  const claim = claimNow(`${runId}-${randomUUID().slice(0, 8)}`);
  await stored.claimSweep(claim.name);
  const result = await work(claim);
  await stored.endSweep(claim.name);
  return result;
}

/** Its times begin before it is written: nobody believes it for shorter than it is used. */
function claimNow(name: string): SweepClaim {
  const [wall, monotonic] = [Date.now(), performance.now()];
  // One clock stands still while the machine sleeps, the other one may be set back.
  const age = () => Math.max(Date.now() - wall, performance.now() - monotonic);
  return {
    name,
    isOpen: () => age() < BEGIN_WITHIN_MILLISECONDS,
    async deleting(work) {
      const signal = AbortSignal.timeout(Math.max(0, Math.ceil(GIVEN_UP_AFTER_MILLISECONDS - age())));
      try {
        await work(signal);
      } catch (error) {
        if (!signal.aborted) throw error;
        const waited = formatDuration(age());
        throw failure('RepositoryUnavailable', `a deletion by retention was not answered for ${waited} and given up`, {
          cause: error,
          data: 'What nothing needs may be deleted or still be there; what is kept was not touched.',
          next: 'It is tried again by itself; find out why the repository is that slow if this comes again.',
        });
      }
    },
  };
}
