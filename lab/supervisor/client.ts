import type { BubbleTemplate } from './bubbles';
import type { Fence } from './fences';
import type { ProgramSpec, ProgramStatus } from './program';
import type { ServiceStatus, ServiceTemplate } from './services';
import type { FenceAnswer, UnfenceAnswer } from './fences';

/** A fence waits until every process is gone, `shutdown` for PostgreSQL's last checkpoint. */
const DEADLINE_MS = 60_000;

/** The supervisor's HTTP API for the lab, the demo and the tests. */
export class SupervisorClient {
  private readonly url: string;
  private readonly token: string;

  constructor(url: string, token: string) {
    this.url = url;
    this.token = token;
  }

  processes = () => this.request<ProgramStatus[]>('GET', '/processes');
  start = (name: string) => this.request<ProgramStatus>('POST', `/processes/${name}/start`);
  stop = (name: string) => this.request<ProgramStatus>('POST', `/processes/${name}/stop`);
  kill = (name: string) => this.request<ProgramStatus>('POST', `/processes/${name}/kill`);
  signal = (name: string, signal: NodeJS.Signals) =>
    this.request<ProgramStatus>('POST', `/processes/${name}/signal`, { signal });
  register = (program: ProgramSpec) => this.request<ProgramStatus>('POST', '/programs', program);
  unregister = (name: string) => this.request<null>('DELETE', `/programs/${name}`);
  killSite = (site: string) => this.request<ProgramStatus[]>('POST', `/sites/${site}/kill`);
  startSite = (site: string) => this.request<ProgramStatus[]>('POST', `/sites/${site}/start`);
  fenceOf = (site: string) => this.request<Fence | null>('GET', `/sites/${site}/fence`);
  fence = (site: string, epoch: number, stores?: readonly string[]) =>
    this.request<FenceAnswer>('PUT', `/sites/${site}/fence`, { epoch, stores });
  unfence = (site: string, epoch: number, restart = false) =>
    this.request<UnfenceAnswer | null>('DELETE', `/sites/${site}/fence`, { epoch, restart });
  services = (site: string) => this.request<ServiceStatus[]>('GET', `/sites/${site}/services`);
  scale = (site: string, name: string, replicas: number) =>
    this.request<ServiceStatus>('PUT', `/sites/${site}/services/${name}`, { replicas });
  defineService = (template: ServiceTemplate & { initialReplicas: number }) =>
    this.request<ServiceStatus>('POST', '/services', template);
  defineBubble = (template: BubbleTemplate) => this.request<null>('POST', '/bubbles', template);
  bubble = (site: string) =>
    this.request<{ drillId: string | null; remains: string[] }>('GET', `/sites/${site}/bubble`);
  shutdown = () => this.request<null>('POST', '/shutdown');

  private async request<T>(method: string, path: string, body?: unknown): Promise<T> {
    const headers = { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' };
    const signal = AbortSignal.timeout(DEADLINE_MS);
    const response = await fetch(`${this.url}${path}`, {
      method,
      headers,
      signal,
      body: body ? JSON.stringify(body) : null,
    });
    const answer = (await response.json()) as T & { error?: string };
    if (!response.ok)
      throw new Error(`${method} ${path}: the lab's supervisor refused (${response.status}): ${answer.error}`);
    return answer;
  }
}
