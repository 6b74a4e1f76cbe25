import { failure } from '../../core/errors';

/** A look at a server that may be gone: one that needs longer does not serve a shop, and a decision waits for it. */
export const LOOK_MILLISECONDS = 3_500;

/**
 * Asks a server that may be silent: one that is stopped, or behind a network that swallows everything, refuses nothing and
 * answers nothing. Past `milliseconds` it is TargetUnreachable, whether or not `ask` obeys the signal that it is handed;
 * so it is when the caller's own signal was a bound that expired (a TimeoutError). A cancelled caller gets its reason.
 */
export async function answerWithin<T>(
  signal: AbortSignal,
  milliseconds: number,
  where: string,
  ask: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const bound = new AbortController();
  const silent = () => failure('TargetUnreachable', `${where}: no answer in the time that a living server needs`);
  const onAbort = () => {
    const reason = signal.reason as { name?: string } | undefined;
    bound.abort(reason?.name === 'TimeoutError' ? silent() : reason);
  };
  if (signal.aborted) onAbort();
  bound.signal.throwIfAborted();
  signal.addEventListener('abort', onAbort, { once: true });
  const timer = setTimeout(() => bound.abort(silent()), milliseconds);
  const cut = new Promise<never>((_, reject) => {
    bound.signal.addEventListener('abort', () => reject(bound.signal.reason), { once: true });
  });
  const asked = ask(bound.signal);
  // The loser of the race may still fail, with nobody left to hear it.
  void Promise.allSettled([asked, cut]);
  try {
    return await Promise.race([asked, cut]);
  } catch (error) {
    bound.signal.throwIfAborted();
    throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', onAbort);
  }
}
