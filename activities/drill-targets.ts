import type { CallContext } from '../core/call';
import type { DrillTarget } from '../core/drill';
import { failure } from '../core/errors';
import type { RestorePlace } from '../core/recovery';
import { isReady } from '../core/services';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { bubbleOf } from './drill';
import { poll } from './poll';
import { servicesOf } from './traffic';

/** What it was before the kill: what it has to be again. */
export interface TargetState {
  readonly healthy: boolean;
  /** `standby, reachable`, `2 of 2 replicas ready`. */
  readonly words: string;
  readonly role: string | null;
  readonly replicas: number;
}

export interface TargetStep {
  readonly application: string;
  readonly target: DrillTarget;
  /** Of a copy that the drill has restored. */
  readonly place: RestorePlace | null;
}

/** The validator of recovery times: what the config names is killed, and watched until it is healthy. */
export function createDrillTargetActivities(deps: ActivityDeps) {
  return {
    /** How it is now. Throws RoleMismatch for what runs at the active site, unless the config allows even that. */
    async lookAtTarget(input: TargetStep): Promise<TargetState> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireAllowed(open, input.target);
        await reopenWays(open, input, ctx);
        return look(open, input, ctx);
      });
    },

    /** Kills it as a crash would, and answers what is gone. Not to be tried again: a second kill would be another test. */
    async killTarget(input: TargetStep): Promise<{ killed: string[]; at: string }> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireAllowed(open, input.target);
        const at = new Date().toISOString();
        return { killed: await kill(open, input, ctx), at };
      });
    },

    /** Waits until it is as healthy as before; null past the deadline, with how it was then. */
    async awaitTarget(
      input: TargetStep & { readonly before: TargetState; readonly deadline: string },
    ): Promise<{ healthyAt: string | null; words: string }> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await reopenWays(open, input, ctx);
        return poll(async () => {
          const state = await look(open, input, ctx);
          const { before } = input;
          ctx.progress({ phase: `waiting for ${input.target.name}`, note: state.words });
          if (state.healthy && state.role === before.role && state.replicas >= before.replicas)
            return { healthyAt: new Date().toISOString(), words: state.words };
          return Date.now() > Date.parse(input.deadline) ? { healthyAt: null, words: state.words } : null;
        }, ctx);
      });
    },
  };
}

/** Who is active decides what production is, so that it is asked each time. */
async function requireAllowed(open: OpenApplication, { name, site, evenActive }: DrillTarget): Promise<void> {
  if (site === null || evenActive) return;
  const active = (await open.epochs.current())?.activeSite ?? open.application.initialSite;
  if (site !== active) return;
  throw failure(
    'RoleMismatch',
    `the target "${name}" is at ${site}, which is the active site: nothing is killed there`,
    {
      data: 'Nothing was killed.',
      next: 'Name another site, or allow it with `evenActive: true` in the config if production is meant.',
    },
  );
}

/** What was started in the bubble is healthy only as long as it reaches the copies. */
async function reopenWays(open: OpenApplication, { target }: TargetStep, ctx: CallContext): Promise<void> {
  if (target.site === null && target.service !== null) await bubbleOf(open).reopenWays(ctx);
}

async function look(open: OpenApplication, { target }: TargetStep, ctx: CallContext): Promise<TargetState> {
  const { store, service, site } = target;
  if (service !== null) {
    const state = await (site === null
      ? bubbleOf(open).state(service, ctx)
      : servicesOf(open).state(site, service, ctx));
    const { readyReplicas, desiredReplicas } = state;
    const words = `${readyReplicas} of ${desiredReplicas} replicas ready`;
    const healthy = desiredReplicas > 0 && isReady(state, desiredReplicas);
    return { healthy, words, role: null, replicas: readyReplicas };
  }
  // A copy that the drill started is looked at by opening it again.
  if (site === null) return { healthy: true, words: 'restored by this drill', role: null, replicas: 0 };
  const probe = await open.engine(store ?? '').probe(site, ctx);
  const words = probe.reachable ? `${probe.role}, reachable` : (probe.problems[0] ?? 'not reachable');
  return { healthy: probe.reachable, words, role: probe.role, replicas: 0 };
}

async function kill(open: OpenApplication, { target, place }: TargetStep, ctx: CallContext): Promise<string[]> {
  const { name, store, service, site } = target;
  if (site !== null) {
    if (open.drill.killer) return open.drill.killer.kill(site, target, ctx);
    throw failure('ConfigInvalid', `nothing in the config of ${open.application.name} can kill "${name}" at ${site}`);
  }
  if (service !== null) return bubbleOf(open).crash(service, ctx);
  if (!place) throw failure('NotFound', `the drill has no copy of ${store} to kill`);
  const pid = await open.engine(store ?? '').restore.crash?.(place, ctx);
  if (pid == null) throw failure('NotFound', `no server of the copy of ${store} runs in ${place.directory}`);
  return [`process ${pid} of the copy in ${place.directory}`];
}
