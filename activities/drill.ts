import { Context } from '@temporalio/activity';
import type { CallContext } from '../core/call';
import type { HostAndPort, LeftCopy } from '../core/drill';
import type { IsolationEvidence } from '../core/drill-judgements';
import { failure } from '../core/errors';
import { taskQueues, workflowIds } from '../core/names';
import { isReady, type ServiceState } from '../core/services';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { poll } from './poll';

export interface DrillStart {
  readonly hostQueue: string;
  /** What earlier drills had left and was removed. */
  readonly removed: readonly string[];
  /** The public records as they are: a drill must not change them. */
  readonly production: readonly string[];
}

export interface DrillRemains {
  /** What is left of the drill; empty when all of it is gone. */
  readonly remains: readonly string[];
  readonly production: readonly string[];
}

/** The frame of a drill: that it may begin, its bubble, what is left of it. */
export function createDrillActivities(deps: ActivityDeps) {
  return {
    /** An incident wins: throws LockHeld while a role change of the application is under way. */
    async requireNoRoleChange(input: { application: string }): Promise<void> {
      const workflowId = workflowIds.roleChange(input.application);
      const handle = Context.current().client.workflow.getHandle(workflowId);
      // By its name: the class comes from a package that activities do not know.
      const never = (error: unknown) => (error as Error).name === 'WorkflowNotFoundError';
      const running = await handle.describe().then(
        ({ status }) => status.name === 'RUNNING',
        (error: unknown) => (never(error) ? false : Promise.reject(error as Error)),
      );
      if (!running) return;
      throw failure('LockHeld', `a role change of ${input.application} is under way: no drill begins beside it`, {
        next: `Wait until ${workflowId} has ended, then start the drill again.`,
      });
    },

    /** Settles the host of the drill, and removes what earlier ones left there: only one runs at a time, so that none needs it. */
    async prepareDrill(input: { application: string; drillId: string }): Promise<DrillStart> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const left = (await open.drill.remains()).filter(({ drillId }) => drillId !== input.drillId);
        for (const copy of left) await removeCopy(open, copy, ctx);
        const bubble = (await open.drill.bubble?.remains(ctx)) ?? [];
        if (bubble.length > 0) await open.drill.bubble?.close(ctx);
        return {
          hostQueue: taskQueues.host(input.application, deps.site, deps.hostId),
          removed: [...left.map(({ what }) => what), ...bubble],
          production: await productionNames(open, ctx),
        };
      });
    },

    /** Makes the bubble, with a way to these copies alone. */
    async openBubble(input: {
      application: string;
      drillId: string;
      copies: Readonly<Record<string, HostAndPort>>;
    }): Promise<void> {
      await withCallContext((ctx) => bubbleOf(deps.open(input.application)).open(input, ctx));
    },

    /** Tries from inside the bubble to reach the copies, and every address of production that the config knows. */
    async tryConnections(input: { application: string; copies: readonly HostAndPort[] }): Promise<IsolationEvidence> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const copies = input.copies.map(({ host, port }) => `${host}:${port}`);
        const attempts = await bubbleOf(open).connect([...copies, ...open.drill.forbidden], ctx);
        const tried = (targets: readonly string[]) =>
          targets.map(
            (target) =>
              attempts.find((each) => each.target === target) ?? { target, connected: true, how: 'it was not tried' },
          );
        return { at: new Date().toISOString(), copies: tried(copies), production: tried(open.drill.forbidden) };
      });
    },

    /** Starts a service in the bubble and waits until it is ready; the activity's own timeout bounds the wait. */
    async startInBubble(input: { application: string; service: string; replicas: number }): Promise<ServiceState> {
      return withCallContext(async (ctx) => {
        const bubble = bubbleOf(deps.open(input.application));
        const { service, replicas } = input;
        const first = await bubble.scale(service, replicas, ctx);
        const look = async () => {
          const state = await bubble.state(service, ctx);
          ctx.progress({ phase: `starting ${service}`, doneItems: state.readyReplicas, totalItems: replicas });
          return isReady(state, replicas) ? state : null;
        };
        return isReady(first, replicas) ? first : poll(look, ctx);
      });
    },

    async closeBubble(input: { application: string }): Promise<void> {
      await withCallContext((ctx) => bubbleOf(deps.open(input.application)).close(ctx));
    },

    /** The inventory after a drill: copies with their processes, the bubble, the isolated name; and the public records. */
    async takeInventory(input: { application: string; drillId: string }): Promise<DrillRemains> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const { name } = open.application.drill;
        const copies = await open.drill.remains(input.drillId);
        const bubble = (await open.drill.bubble?.remains(ctx)) ?? [];
        const record = name && open.zone ? await open.zone.record(name.name, name.type, ctx) : null;
        const names = record ? [`${record.name} ${record.type} in the zone (${record.values.join(', ')})`] : [];
        return {
          remains: [...copies.map(({ what }) => what), ...bubble, ...names],
          production: await productionNames(open, ctx),
        };
      });
    },
  };
}

/** A process without its directory is told and left: nothing proves any more what it is. */
async function removeCopy(open: OpenApplication, { store, drillId, what }: LeftCopy, ctx: CallContext): Promise<void> {
  if (store === null || !open.application.stores.some(({ name }) => name === store)) {
    ctx.log.warn({ drillId, what }, 'an earlier drill left something that is not removed by itself');
    return;
  }
  const place = open.scratchPlace(store, '');
  await open.engine(store).restore.discard({ ...place, directory: what }, ctx);
}

async function productionNames({ application, zone }: OpenApplication, ctx: CallContext): Promise<string[]> {
  if (!zone) return [];
  return Promise.all(
    application.dns.map(async ({ name, type }) => {
      const record = await zone.record(name, type, ctx);
      return `${name} ${type}: ${record ? record.values.join(', ') : 'no record'}`;
    }),
  );
}

export function bubbleOf({ drill, application }: OpenApplication) {
  if (drill.bubble) return drill.bubble;
  throw failure('ConfigInvalid', `${application.name} has no drill.bubble in its config`);
}
