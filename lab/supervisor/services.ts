import * as fs from 'node:fs';
import type { Wall } from './bubbles';
import type { Program, ProgramSpec } from './program';

/** How the replicas of one service at one site are made; `{host}` and `{port}` in `env` stand for the replica's own. */
export interface ServiceTemplate {
  readonly site: string;
  readonly name: string;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  readonly host: string;
  /** The n-th replica, counted from 0, listens on this port plus n. */
  readonly firstPort: number;
  /** JSON {service: ["host:port", …]} that the site's gateway follows. */
  readonly upstreamsFile: string;
}

export interface ServiceStatus {
  readonly name: string;
  readonly desiredReplicas: number;
  readonly readyReplicas: number;
  readonly generation: number;
}

/** A health check reads three stores; what takes longer than this is not ready. */
const HEALTH_DEADLINE_MS = 3_000;

/** The replicas of a service in a bubble, each of which needs a door of its own. */
const BUBBLE_REPLICAS = 2;

/** `host:port` of every replica that it may have in a bubble. */
export function bubbleAddresses({ host, firstPort }: ServiceTemplate): string[] {
  return Array.from({ length: BUBBLE_REPLICAS }, (_, replica) => `${host}:${firstPort + replica}`);
}

/** `wall`: of a service in a bubble, where `{copy:<store>}` in `env` stands for the address of the store's copy. */
export function replicaSpec(template: ServiceTemplate, replica: number, wall?: Wall): ProgramSpec {
  const { site, name, cwd, host, firstPort } = template;
  const argv = [...(wall?.enter ?? []), ...template.argv];
  const port = `${firstPort + replica}`;
  const copied = (text: string) =>
    text.replaceAll(/\{copy:([a-z0-9-]+)\}/g, (_, store: string) => wall?.copies[store] ?? '');
  const fill = (value: string) => copied(value).replaceAll('{host}', host).replaceAll('{port}', port);
  const env = Object.fromEntries(Object.entries(template.env).map(([key, value]) => [key, fill(value)]));
  const healthUrl = `http://${host}:${port}/health`;
  return { name: `${site}-${name}-${replica + 1}`, site, kind: 'service', argv, env, cwd, restart: true, healthUrl };
}

/** Asks each running replica now: a cached answer would call a service ready whose store has just died. */
export async function countReady(programs: readonly Program[]): Promise<number> {
  const answers = await Promise.all(programs.filter((program) => program.running).map(isReady));
  return answers.filter(Boolean).length;
}

async function isReady(program: Program): Promise<boolean> {
  try {
    const response = await fetch(program.spec.healthUrl ?? '', { signal: AbortSignal.timeout(HEALTH_DEADLINE_MS) });
    await response.body?.cancel();
    return response.status === 200;
  } catch {
    return false; // no answer is the very thing that "not ready" means
  }
}

/** Tells the gateway which replicas run. Renamed into place, so that it never reads half a file. */
export function writeUpstreams(file: string, upstreams: Readonly<Record<string, readonly string[]>>): void {
  const content = JSON.stringify(upstreams);
  if (fs.existsSync(file) && fs.readFileSync(file, 'utf8') === content) return;
  fs.writeFileSync(`${file}.new`, content);
  fs.renameSync(`${file}.new`, file);
}
