import { z } from 'zod';
import type { ComponentKiller } from '../../core/drill';
import { failure } from '../../core/errors';
import type { ProcessServicesSettings, ServicesSettings } from '../services/settings';
import { requestSupervisor } from '../supervisor/client';
import { createKubernetesKiller } from './kubernetes-killer';

const killed = z.array(z.string());

/** What runs a site's services kills there, too. */
export function createKiller(settings: ServicesSettings): ComponentKiller {
  return settings.kind === 'kubernetes' ? createKubernetesKiller(settings) : createProcessKiller(settings);
}

/** Kills processes that a supervisor runs at a site; it starts them again, as it does after any crash. */
function createProcessKiller(settings: ProcessServicesSettings): ComponentKiller {
  return {
    kind: 'process',
    async kill(site, { store, service }, ctx) {
      const name = store ?? service ?? '';
      const path = `/sites/${encodeURIComponent(site)}/${store === null ? 'services' : 'stores'}/${encodeURIComponent(name)}/crash`;
      const what = `killing ${name} at ${site}`;
      const answer = await requestSupervisor(settings, { what, method: 'PUT', path }, ctx.signal);
      if (answer.status < 300) return answer.read(killed);
      throw failure(answer.status === 404 ? 'NotFound' : 'RoleMismatch', `${what}: ${answer.reason}`);
    },
  };
}
