import type { CallContext } from '../core/call';

/** For reading from a command: nothing to cancel, no progress to report, nothing to log. */
export function quietContext(): CallContext {
  const silent = () => {};
  return {
    signal: new AbortController().signal,
    log: { debug: silent, info: silent, warn: silent, error: silent },
    progress: silent,
  };
}
