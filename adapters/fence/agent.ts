import { z } from 'zod';
import { failure } from '../../core/errors';
import type { FenceEvidence, SiteFence } from '../../core/fencing';
import { requestSupervisor, type SupervisorAnswer, type SupervisorRequest } from '../supervisor/client';
import type { AgentFenceSettings } from './settings';

/** What no answer means. */
const NOT_KNOWN = 'Whether the site is fenced is not known; nothing was promoted.';

const evidenceAnswer = z.object({
  site: z.string(),
  epoch: z.int(),
  at: z.iso.datetime({ offset: true }),
  /** Null: every store of the site. */
  stores: z.array(z.string()).nullish(),
  processes: z.array(z.object({ name: z.string(), pid: z.int().nullable().default(null), gone: z.boolean() })),
  /** Of those that shut down cleanly, where that can be read. */
  ended: z.array(z.object({ store: z.string(), lineage: z.string(), value: z.string() })).default([]),
});

const disksAnswer = z.array(
  z.object({ store: z.string(), freeBytes: z.number().min(0), totalBytes: z.number().positive() }),
);

/** What a process that the fence stopped is now; `owner` names who starts it where that is not the agent. */
const liftedAnswer = z
  .object({
    processes: z.array(z.object({ name: z.string(), started: z.boolean(), owner: z.string().nullish() })).default([]),
  })
  .nullable();

const stateAnswer = z
  .object({ epoch: z.int().nullable() })
  .or(z.object({ fenced: z.literal(false) }).transform(() => ({ epoch: null })))
  .or(z.null().transform(() => ({ epoch: null })));

/**
 * A fence through the agent that owns the site's processes (`lab/supervisor` is one). Proven only by its word that every
 * process is gone. No answer proves nothing (rule 9): it is TargetUnreachable, to be tried again, and says so.
 */
export function createAgentFence(settings: AgentFenceSettings, stores: readonly string[]): SiteFence {
  async function ask(request: SupervisorRequest, epoch: number, signal?: AbortSignal): Promise<SupervisorAnswer> {
    const answer = await requestSupervisor(settings, { ...request, unansweredMeans: NOT_KNOWN }, signal);
    if (answer.status === 409) {
      throw failure('StaleEpoch', `${request.what} for epoch ${epoch}: ${answer.reason}`, { context: { epoch } });
    }
    if (answer.status >= 300 && answer.status !== 404) {
      throw failure('FencingUnconfirmed', `${request.what} for epoch ${epoch}: ${answer.reason}`, { data: NOT_KNOWN });
    }
    return answer;
  }

  return {
    kind: 'agent',

    async check(site, ctx) {
      return { fencedByEpoch: (await readState(site, ctx.signal))?.epoch ?? null };
    },

    async disks(site, ctx) {
      const what = `reading the disks of site ${site}`;
      const path = `/sites/${encodeURIComponent(site)}/disks`;
      const answer = await requestSupervisor(settings, { what, method: 'GET', path }, ctx.signal);
      if (answer.status === 404) return []; // an agent that does not know the question
      if (answer.status >= 300) throw failure('TargetUnreachable', `${what}: ${answer.reason}`);
      return answer.read(disksAnswer).filter(({ store }) => stores.includes(store));
    },

    async fence(site, epoch, ctx, scope) {
      const what = scope ? `fencing ${scope.stores.join(', ')} at site ${site}` : `fencing site ${site}`;
      const body = { epoch, ...scope };
      const answer = await ask({ what, method: 'PUT', path: fencePath(site), body }, epoch, ctx.signal);
      if (answer.status === 404) throw failure('NotFound', `${what}: ${answer.reason}`);
      return prove(answer.read(evidenceAnswer), { site, epoch, stores, by: `agent at ${new URL(settings.url).host}` });
    },

    async startStandby({ site, store }, epoch, ctx) {
      const path = `/sites/${encodeURIComponent(site)}/stores/${encodeURIComponent(store)}/standby`;
      const request = {
        what: `starting ${store} at site ${site} as a standby`,
        method: 'PUT',
        path,
        body: { epoch },
      } as const;
      const answer = await requestSupervisor(settings, request, ctx.signal);
      // An agent that does not know the request, and one that cannot do it for this store, say so: a person does it.
      if (answer.status === 404 || answer.status === 422) return false;
      if (answer.status === 409)
        throw failure('StaleEpoch', `${request.what}: ${answer.reason}`, { context: { epoch } });
      if (answer.status >= 300) throw failure('RoleMismatch', `${request.what}: ${answer.reason}`);
      return true;
    },

    async unfence(site, epoch, ctx) {
      const what = `lifting the fence of site ${site}`;
      // 404: there is no fence any more, which is what a repeated call finds.
      const request = { what, method: 'DELETE', path: fencePath(site), body: { epoch, restart: true } } as const;
      const answer = await ask(request, epoch, ctx.signal);
      const left = await readState(site, ctx.signal);
      if (left) throw failure('FencingUnconfirmed', `${what}: the agent still shows a fence of epoch ${left.epoch}`);
      const processes = answer.status === 404 ? [] : (answer.read(liftedAnswer)?.processes ?? []);
      const others = processes.filter(({ owner }) => owner);
      return {
        started: processes.filter(({ started }) => started).map(({ name }) => name),
        notes: others.map(({ name, owner }) => `${name} at ${site} belongs to ${owner}, which has to start it`),
      };
    },
  };

  async function readState(site: string, signal: AbortSignal): Promise<{ epoch: number } | null> {
    const what = `reading the fence of site ${site}`;
    const answer = await requestSupervisor(settings, { what, method: 'GET', path: fencePath(site) }, signal);
    if (answer.status === 404) return null;
    if (answer.status >= 300) throw failure('FencingUnconfirmed', `${what}: ${answer.reason}`, { data: NOT_KNOWN });
    const { epoch } = answer.read(stateAnswer);
    return epoch === null ? null : { epoch };
  }
}

function fencePath(site: string): string {
  return `/sites/${encodeURIComponent(site)}/fence`;
}

/** Refuses every answer that leaves a doubt: another site or epoch, no process at all, one that is not gone. */
function prove(
  answer: z.output<typeof evidenceAnswer>,
  wanted: { site: string; epoch: number; stores: readonly string[]; by: string },
): FenceEvidence {
  const { site, epoch } = wanted;
  const unconfirmed = (why: string) =>
    failure('FencingUnconfirmed', `fencing site ${site} for epoch ${epoch}: the agent ${why}`, {
      context: { site, epoch, answeredAt: answer.at },
    });
  if (answer.site !== site || answer.epoch !== epoch) {
    throw unconfirmed(`speaks of site ${answer.site} and epoch ${answer.epoch}`);
  }
  if (answer.processes.length === 0) throw unconfirmed('knows no process there, so it can prove nothing');
  const alive = answer.processes.filter((each) => !each.gone).map((each) => `${each.name} (pid ${each.pid})`);
  if (alive.length > 0) throw unconfirmed(`did not see ${alive.join(', ')} gone`);
  const names = answer.processes.map((each) => each.name).join(', ');
  const ended = answer.ended.filter(({ store }) => wanted.stores.includes(store));
  const clean = ended.map(({ store, value }) => `; ${store} was shut down cleanly at ${value}`).join('');
  const how = `${ended.length > 0 ? 'ended' : 'killed'} and saw gone ${answer.processes.length} processes (${names}); they stay down until the fence is lifted${clean}`;
  const stores = wanted.stores.filter((store) => answer.stores?.includes(store) ?? true);
  const ends = ended.length > 0 ? { ended } : {};
  return { strength: 'proven', site, stores, epoch, at: answer.at, how, by: wanted.by, ...ends };
}
