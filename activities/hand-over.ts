import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../core/call';
import { failure } from '../core/errors';
import type { StoreEnd } from '../core/fencing';
import type { Following, HandOver } from '../core/hand-over';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';
import { replicationOf, type RoleStep } from './promote';

const POLL_MILLISECONDS = 100;

/** How long the standby took to have what the primary had when it was asked: its lag in time is at most that. */
export interface CatchUp {
  readonly store: string;
  readonly seconds: number;
}

interface Move {
  readonly application: string;
  readonly fromSite: string;
  readonly toSite: string;
  readonly withinSeconds: number;
}

/** Planned role changes: both sides answer, and nothing is lost. */
export function createHandOverActivities(deps: ActivityDeps) {
  return {
    /**
     * Measures every store's lag in one way for all engines, and never as unknown: by waiting for it. SwitchoverRefused
     * where it is more than `withinSeconds`, or where the two are no primary and standby of each other.
     */
    async measureCatchUp(input: Move): Promise<CatchUp[]> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        const replicated = open.application.stores.filter(({ hasReplication }) => hasReplication);
        return Promise.all(replicated.map(({ name }) => catchUpOf(open, name, input, ctx)));
      });
    },

    /** See `Replication.handOver`. */
    async handOverStore(input: Move & { store: string; epoch: number }): Promise<HandOver> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { fromSite, toSite, epoch, withinSeconds } = input;
        return replicationOf(open, input.store).handOver({ fromSite, toSite, epoch, withinSeconds }, ctx);
      });
    },

    /**
     * The token once its server was shut down: the new side has all of it, to the last record. VerificationFailed where the
     * server that ended is not the one that handed over.
     */
    async confirmEnd(
      input: Omit<Move, 'fromSite'> & { handOver: HandOver; end: StoreEnd; epoch: number },
    ): Promise<HandOver> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { handOver, end, toSite: site, withinSeconds } = input;
        const { store, final } = handOver;
        const replication = replicationOf(open, store);
        if (!replication.passedEnd) return handOver;
        const ended = { ...final, value: end.value };
        if (end.lineage !== final.lineage || open.engine(store).positions.compare(ended, final) < 0)
          throw failure(
            'VerificationFailed',
            `${store} was shut down at ${end.value} of ${end.lineage}, but handed over at ${final.value} of ${final.lineage}`,
          );
        const reached = await replication.passedEnd({ site, end, withinSeconds }, ctx);
        const how = `${handOver.how}; shut down cleanly at ${end.value}, which ${site} has replayed past (${reached.value})`;
        return { ...handOver, final: ended, reached, at: new Date().toISOString(), how };
      });
    },

    /** See `Replication.follow`. `startStandby`: its host has shut it down cleanly and may start it as a standby. */
    async followNewPrimary(input: RoleStep & { primarySite: string; startStandby?: boolean }): Promise<Following> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { site, primarySite, epoch, store } = input;
        const fence = input.startStandby ? open.siteFence : null;
        const starting = (await fence?.startStandby?.({ site, store }, epoch, ctx)) ?? false;
        return replicationOf(open, store).follow({ site, primarySite, epoch, starting }, ctx);
      });
    },
  };
}

async function catchUpOf(
  open: OpenApplication,
  store: string,
  { fromSite, toSite, withinSeconds }: Move,
  ctx: CallContext,
): Promise<CatchUp> {
  const replication = replicationOf(open, store);
  const { positions } = open.engine(store);
  const refuse = (why: string) => failure('SwitchoverRefused', `${store} at ${toSite} cannot take over: ${why}`);
  const primary = await replication.state(fromSite, ctx);
  if (!primary) throw refuse(`its primary at ${fromSite} does not answer`);
  const wanted = primary.position;
  for (const started = performance.now(); ;) {
    const standby = await replication.state(toSite, ctx);
    if (!standby) throw refuse('it does not answer');
    if (standby.position.lineage !== wanted.lineage)
      throw refuse(`it follows ${standby.position.lineage}, the primary writes ${wanted.lineage}`);
    const seconds = (performance.now() - started) / 1_000;
    if (positions.compare(standby.position, wanted) >= 0) return { store, seconds };
    if (seconds > withinSeconds)
      throw refuse(`after ${withinSeconds} s it is at ${standby.position.value}, the primary was at ${wanted.value}`);
    ctx.progress({ phase: `waiting for ${store} at ${toSite}`, note: standby.position.value });
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
}
