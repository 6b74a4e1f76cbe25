import { z } from 'zod';
import type { Bubble } from '../../core/drill';
import { failure } from '../../core/errors';
import { createProcessServices } from '../services/process';
import { requestSupervisor, type SupervisorAnswer, type SupervisorRequest } from '../supervisor/client';
import type { ProcessBubbleSettings } from './settings';

const attempts = z.array(z.object({ target: z.string(), connected: z.boolean(), how: z.string() }));
const bubbleAnswer = z.object({ drillId: z.string().nullable(), remains: z.array(z.string()) });
const killed = z.array(z.string());

/** A bubble that a process supervisor makes (`lab/supervisor` is one): a network of its own, left only towards the copies. */
export function createProcessBubble(settings: ProcessBubbleSettings): Bubble {
  const { site } = settings;
  const services = createProcessServices({ ...settings, kind: 'process' });
  const path = `/sites/${encodeURIComponent(site)}/bubble`;

  async function ask(request: SupervisorRequest, signal: AbortSignal): Promise<SupervisorAnswer> {
    const answer = await requestSupervisor(settings, request, signal);
    if (answer.status < 300) return answer;
    const why = `${request.what}: ${answer.reason}`;
    if (answer.status === 404) throw failure('NotFound', why);
    if (answer.status === 409) throw failure('LockHeld', why);
    throw failure('ConfigInvalid', why, { next: 'Check that `drill.bubble.url` names a supervisor of this version.' });
  }

  return {
    kind: 'process',

    async open({ drillId, copies }, ctx) {
      const body = {
        drillId,
        copies: Object.fromEntries(Object.entries(copies).map(([store, { host, port }]) => [store, `${host}:${port}`])),
      };
      await ask({ what: `opening the bubble ${site}`, method: 'PUT', path, body }, ctx.signal);
    },

    // The supervisor keeps them, whichever worker has asked for them.
    reopenWays: () => Promise.resolve(),

    async connect(targets, ctx) {
      const what = `trying connections from the bubble ${site}`;
      const answer = await ask({ what, method: 'PUT', path: `${path}/connections`, body: { targets } }, ctx.signal);
      return answer.read(attempts);
    },

    scale: (service, replicas, ctx) => services.scale(site, service, replicas, ctx),
    state: (service, ctx) => services.state(site, service, ctx),

    async crash(service, ctx) {
      const what = `killing ${service} in the bubble ${site}`;
      const of = `/sites/${encodeURIComponent(site)}/services/${encodeURIComponent(service)}/crash`;
      return (await ask({ what, method: 'PUT', path: of }, ctx.signal)).read(killed);
    },

    async close(ctx) {
      await ask({ what: `closing the bubble ${site}`, method: 'DELETE', path }, ctx.signal);
    },

    async remains(ctx) {
      const answer = await ask({ what: `looking at the bubble ${site}`, method: 'GET', path }, ctx.signal);
      return answer.read(bubbleAnswer).remains;
    },
  };
}
