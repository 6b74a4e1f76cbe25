import type { HookCall } from '../core/hooks';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export function createHookActivities(deps: ActivityDeps) {
  return {
    /** Calls what the config names, and answers its last words. What takes it back is called although the epoch was given back by then. */
    async callHook(input: HookCall & { withinSeconds: number }): Promise<string> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { withinSeconds, ...call } = input;
        if (call.action === 'run') await requireEpoch(open, call.epoch);
        return open.hooks.call(call, withinSeconds, ctx);
      });
    },
  };
}
