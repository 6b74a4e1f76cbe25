import type { Program, ProgramSpec } from './program';
import { Refusal } from './refusal';
import { countReady, replicaSpec, type ServiceStatus, type ServiceTemplate, writeUpstreams } from './services';
import type { SupervisorState } from './state-file';

/** What it takes of the supervisor, which owns the processes. Registering the same again changes nothing. */
interface Processes {
  programs(): readonly Program[];
  register(spec: ProgramSpec): Promise<unknown>;
  unregister(name: string): Promise<void>;
  save(): void;
}

type Service = SupervisorState['services'][string];

/** The process manager of each site's services: as many replicas as were asked for, and the gateway told which run. */
export class SiteServices {
  private readonly state: Pick<SupervisorState, 'services' | 'fences'>;
  private readonly processes: Processes;

  constructor(state: Pick<SupervisorState, 'services' | 'fences'>, processes: Processes) {
    this.state = state;
    this.processes = processes;
  }

  /** Declares a service of a site; where it is known its replicas stay as they are. */
  async define(template: ServiceTemplate, initialReplicas: number): Promise<ServiceStatus> {
    const key = `${template.site}/${template.name}`;
    const known = this.state.services[key];
    return this.apply(
      key,
      known ? { ...known, template } : { template, desiredReplicas: initialReplicas, generation: 1 },
    );
  }

  async of(site: string): Promise<ServiceStatus[]> {
    const found = Object.entries(this.state.services).filter(([, { template }]) => template.site === site);
    return Promise.all(found.map(([key, service]) => this.status(key, service)));
  }

  async scale(site: string, name: string, replicas: number): Promise<ServiceStatus> {
    const key = `${site}/${name}`;
    const service = this.state.services[key];
    if (!service) throw new Refusal(404, `site ${site} has no service ${name}`);
    const fence = this.state.fences[site];
    if (replicas > 0 && fence)
      throw new Refusal(409, `site ${site} is fenced by epoch ${fence.epoch}: its services may not start`);
    return this.apply(key, { ...service, desiredReplicas: replicas, generation: service.generation + 1 });
  }

  /** To be called whenever a replica starts or ends. */
  tellGateway(site: string): void {
    const upstreams: Record<string, string[]> = {};
    let file: string | undefined;
    for (const [key, { template }] of Object.entries(this.state.services)) {
      if (template.site !== site) continue;
      file = template.upstreamsFile;
      const running = this.replicasOf(key).filter((program) => program.running);
      upstreams[template.name] = running.map(({ spec }) => new URL(spec.healthUrl ?? '').host);
    }
    if (file) writeUpstreams(file, upstreams);
  }

  private async apply(key: string, service: Service): Promise<ServiceStatus> {
    const { template, desiredReplicas } = service;
    this.state.services[key] = service;
    const surplus = this.replicasOf(key).slice(desiredReplicas);
    await Promise.all(surplus.map((program) => this.processes.unregister(program.spec.name)));
    for (let replica = 0; replica < desiredReplicas; replica += 1)
      await this.processes.register(replicaSpec(template, replica));
    this.processes.save();
    return this.status(key, service);
  }

  private async status(key: string, { template, desiredReplicas, generation }: Service): Promise<ServiceStatus> {
    return { name: template.name, desiredReplicas, readyReplicas: await countReady(this.replicasOf(key)), generation };
  }

  private replicasOf(key: string): Program[] {
    const prefix = `${key.replace('/', '-')}-`;
    const found = this.processes
      .programs()
      .filter(({ spec }) => spec.kind === 'service' && spec.name.startsWith(prefix));
    return found.toSorted((a, b) => a.spec.name.localeCompare(b.spec.name, 'en', { numeric: true }));
  }
}
