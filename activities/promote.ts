import type { Position } from '../core/positions';
import type { Candidate, PromoteRequest, PromoteResult, WriteProbe } from '../core/roles';
import { failure } from '../core/errors';
import type { MemberFollowing } from '../core/hand-over';
import type { FenceEvidence, FenceScope, Unfenced } from '../core/fencing';
import { requireEpoch } from './application';
import { withCallContext } from './context';
import type { ActivityDeps, OpenApplication } from './deps';

export interface RoleStep {
  readonly application: string;
  readonly store: string;
  readonly site: string;
  readonly epoch: number;
}

export function replicationOf(open: OpenApplication, store: string) {
  const { replication, kind } = open.engine(store);
  if (!replication) throw failure('UsageInvalid', `store ${store} has no role to change: its engine is ${kind}`);
  return replication;
}

/** Fencing and promoting: each reads the state, compares the epoch, acts, verifies (rule 1). */
export function createPromoteActivities(deps: ActivityDeps) {
  return {
    /** Fences a whole site by its host's agent or its cloud's power API. Evidence `none` where no such fence is configured. */
    async fenceSite(input: {
      application: string;
      site: string;
      epoch: number;
      /** Of a planned role change; left out: all of the site, at once. */
      scope?: FenceScope;
    }): Promise<FenceEvidence> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        if (!open.siteFence) {
          return {
            strength: 'none',
            site: input.site,
            stores: [],
            epoch: input.epoch,
            at: new Date().toISOString(),
            how: 'no fence of the site is configured',
            by: 'drctl',
          };
        }
        return open.siteFence.fence(input.site, input.epoch, ctx, input.scope);
      });
    },

    /** Lifts what `fenceSite` did and starts again what it stopped. Null where no such fence is configured. */
    async unfenceSite(input: { application: string; site: string; epoch: number }): Promise<Unfenced | null> {
      return withCallContext(async (ctx) => {
        const { siteFence } = deps.open(input.application);
        return siteFence ? siteFence.unfence(input.site, input.epoch, ctx) : null;
      });
    },

    /** Fences one store by its engine's own means. */
    async fenceStore(input: RoleStep & { survivingSite: string }): Promise<FenceEvidence> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        return replicationOf(open, input.store).fence(input.site, input.survivingSite, input.epoch, ctx);
      });
    },

    async unfenceStore(input: RoleStep): Promise<void> {
      await withCallContext((ctx) =>
        replicationOf(deps.open(input.application), input.store).unfence(input.site, input.epoch, ctx),
      );
    },

    /** See `Replication.choose`. Null for an engine that does not. */
    async chooseServer(input: RoleStep & { atLeast: Position | null }): Promise<Candidate | null> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { store, site, atLeast } = input;
        return (await replicationOf(open, store).choose?.({ site, atLeast }, ctx)) ?? null;
      });
    },

    /** Makes the site's replica the writable primary. Refuses without evidence for this store (rule 2); see `PromoteRequest`. */
    async promoteStore(
      input: RoleStep & Pick<PromoteRequest, 'evidence' | 'force' | 'server'>,
    ): Promise<PromoteResult> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { application: _, store, ...request } = input;
        return replicationOf(open, store).promote(request, ctx);
      });
    },

    /**
     * Whether somebody else has promoted the store at the site meanwhile: then nothing is unfenced any more. One that does
     * not answer may be, unless `seen` asks for one that is seen to take writes.
     */
    async mayBePromoted(input: RoleStep & { seen?: boolean }): Promise<boolean> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        if (replicationOf(open, input.store).electsItself) return false;
        const { writable } = await open.engine(input.store).probe(input.site, ctx);
        return input.seen ? writable === true : writable !== false;
      });
    },

    /** See `Replication.followMembers`. */
    async followMembers(input: RoleStep): Promise<readonly MemberFollowing[]> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        const { store, site, epoch } = input;
        return (await replicationOf(open, store).followMembers?.({ site, epoch }, ctx)) ?? [];
      });
    },

    /** One write and one read back through the store's normal door. */
    async probeWrite(input: RoleStep & { marker: string }): Promise<WriteProbe> {
      return withCallContext(async (ctx) => {
        const open = deps.open(input.application);
        await requireEpoch(open, input.epoch);
        return replicationOf(open, input.store).writeProbe(input.site, input.marker, ctx);
      });
    },
  };
}
