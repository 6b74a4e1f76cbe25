import { z } from 'zod';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import type { ServiceController, ServiceState } from '../../core/services';
import { requestSupervisor, type SupervisorAnswer } from '../supervisor/client';
import type { ProcessServicesSettings } from './settings';

const serviceAnswer = z.object({
  name: z.string(),
  desiredReplicas: z.int().min(0),
  readyReplicas: z.int().min(0),
});

/** Services that a process supervisor runs at each site (`lab/supervisor` is one). */
export function createProcessServices(settings: ProcessServicesSettings): ServiceController {
  async function state(site: string, service: string, ctx: CallContext): Promise<ServiceState> {
    const what = `reading service ${service} of site ${site}`;
    const answer = await requestSupervisor(settings, { what, method: 'GET', path: servicesPath(site) }, ctx.signal);
    refuse(answer, what, site);
    const services = answer.read(z.array(serviceAnswer));
    const found = services.find(({ name }) => name === service);
    if (!found) {
      const known = services.map(({ name }) => name).join(', ') || 'none';
      throw failure('NotFound', `${what}: the supervisor knows no such service (it knows: ${known})`);
    }
    // A stopped replica counts as ready until it is gone, so more ready than desired is an older state.
    return { site, service, ...counts(found), settled: found.readyReplicas <= found.desiredReplicas };
  }

  async function scale(site: string, service: string, replicas: number, ctx: CallContext): Promise<ServiceState> {
    const before = await state(site, service, ctx);
    if (before.desiredReplicas === replicas) return before;
    const what = `scaling service ${service} of site ${site} to ${replicas}`;
    const path = `${servicesPath(site)}/${encodeURIComponent(service)}`;
    const answer = await requestSupervisor(settings, { what, method: 'PUT', path, body: { replicas } }, ctx.signal);
    refuse(answer, what, site);
    return state(site, service, ctx);
  }

  // A supervisor has one token for everything: who may look may scale.
  return { kind: 'process', state, scale, rehearse: (site, service, _replicas, ctx) => state(site, service, ctx) };
}

function servicesPath(site: string): string {
  return `/sites/${encodeURIComponent(site)}/services`;
}

function counts({ desiredReplicas, readyReplicas }: z.output<typeof serviceAnswer>) {
  return { desiredReplicas, readyReplicas };
}

function refuse(answer: SupervisorAnswer, what: string, site: string): void {
  if (answer.status < 300) return;
  const why = `${what}: ${answer.reason}`;
  if (answer.status === 404) throw failure('NotFound', why);
  if (answer.status === 409) {
    throw failure('RoleMismatch', why, { next: `Site ${site} is fenced or down: look at it with \`drctl status\`.` });
  }
  throw failure('ConfigInvalid', why, { next: 'Check that `url` names a supervisor of this version of drctl.' });
}
