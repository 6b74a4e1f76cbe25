import { isAlive, killTree } from '../servers/process-tree';
import type { Program, ProgramSpec } from './program';
import { Refusal } from './refusal';
import type { Wall } from './bubbles';
import {
  bubbleAddresses,
  countReady,
  replicaSpec,
  type ServiceStatus,
  type ServiceTemplate,
  writeUpstreams,
} from './services';
import type { SupervisorState } from './state-file';

/** What it takes of the supervisor, which owns the processes. Registering the same again changes nothing. */
interface Processes {
  programs(): readonly Program[];
  register(spec: ProgramSpec): Promise<unknown>;
  unregister(name: string): Promise<void>;
  /** Of a site that is a bubble, see `Bubbles.wallOf`. */
  wallOf(site: string): Wall | undefined;
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

  /** SIGKILL to every replica, without a word that it should stay down: it is started again, as after any crash. */
  async crash(site: string, name: string): Promise<string[]> {
    const running = this.replicasOf(`${site}/${name}`).filter((program) => program.running);
    if (running.length === 0) throw new Refusal(404, `no replica of service ${name} runs at site ${site}`);
    return crashAll(running);
  }

  /** Every address that the services of a bubble may have. */
  addresses(site: string): string[] {
    const templates = Object.values(this.state.services).map(({ template }) => template);
    return templates.filter((template) => template.site === site).flatMap(bubbleAddresses);
  }

  async stopAll(site: string): Promise<void> {
    for (const { template } of Object.values(this.state.services))
      if (template.site === site) await this.scale(site, template.name, 0);
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
    const wall = desiredReplicas > 0 ? this.processes.wallOf(template.site) : undefined;
    this.state.services[key] = service;
    const surplus = this.replicasOf(key).slice(desiredReplicas);
    await Promise.all(surplus.map((program) => this.processes.unregister(program.spec.name)));
    for (let replica = 0; replica < desiredReplicas; replica += 1)
      await this.processes.register(replicaSpec(template, replica, wall));
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

/** Kills the processes and sees them gone; whoever watches over them is not told. */
export async function crashAll(programs: readonly Program[]): Promise<string[]> {
  const victims = programs.flatMap(({ spec, process }) => (process ? [{ name: spec.name, process }] : []));
  const alive = victims.filter(({ process }) => isAlive(process));
  await Promise.all(alive.map(({ process }) => killTree(process.pid)));
  return victims.map(({ name, process }) => `${name} (process ${process.pid})`);
}
