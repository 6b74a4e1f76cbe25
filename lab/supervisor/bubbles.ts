import * as fs from 'node:fs';
import * as path from 'node:path';
import { runToEnd, waitUntil } from '../servers/process';
import { projectRoot } from '../runtime/servers';
import type { Door, Doors } from '../bubble/doors';
import type { Program, ProgramSpec } from './program';
import { Refusal } from './refusal';
import type { SupervisorState } from './state-file';

/** A place for a drill's services: its programs run, and its services may start, only while it is open. */
export interface BubbleTemplate {
  readonly site: string;
  /** Short: sockets lie in it, and their paths are limited to about a hundred characters (unix(7)). */
  readonly folder: string;
  /** What stands before its services, such as a gateway. */
  readonly programs: readonly ProgramSpec[];
}

export interface OpenBubble {
  readonly drillId: string;
  /** Store → `host:port` of its copy. */
  readonly copies: Readonly<Record<string, string>>;
}

/** How a program gets into an open bubble, and what it finds there. */
export interface Wall {
  readonly enter: readonly string[];
  readonly copies: Readonly<Record<string, string>>;
}

/** What it takes of the supervisor, which owns the processes. */
interface Processes {
  programs(): readonly Program[];
  register(spec: ProgramSpec): Promise<unknown>;
  unregister(name: string): Promise<void>;
  /** `host:port` of every replica that services of the site may have. */
  addresses(site: string): readonly string[];
  stopServices(site: string): Promise<void>;
  save(): void;
}

const READY_MS = 15_000;
const PROBE_MS = 15_000;

/** The bubbles of a lab. Each is a network namespace with doors; see lab/bubble. */
export class Bubbles {
  private readonly state: Pick<SupervisorState, 'bubbles'>;
  private readonly processes: Processes;

  constructor(state: Pick<SupervisorState, 'bubbles'>, processes: Processes) {
    this.state = state;
    this.processes = processes;
  }

  define(template: BubbleTemplate): void {
    const known = this.bubbles[template.site];
    this.bubbles[template.site] = { template, open: known?.open ?? null };
    this.processes.save();
  }

  /** Undefined for a site that is none. Throws where its services may not start, because it is closed. */
  wallOf(site: string): Wall | undefined {
    const bubble = this.bubbles[site];
    if (!bubble) return undefined;
    if (!bubble.open) throw new Refusal(409, `the bubble ${site} is closed: nothing starts in it`);
    return { enter: this.enter(bubble.template), copies: bubble.open.copies };
  }

  async open(site: string, wanted: OpenBubble): Promise<{ drillId: string; remains: readonly string[] }> {
    const bubble = this.find(site);
    const { template, open } = bubble;
    if (open && JSON.stringify(open) !== JSON.stringify(wanted))
      throw new Refusal(409, `the bubble ${site} is open for drill ${open.drillId}`);
    this.bubbles[site] = { template, open: wanted };
    fs.mkdirSync(template.folder, { recursive: true, mode: 0o700 });
    const pidFile = this.pidFile(template);
    if (!open) fs.rmSync(pidFile, { force: true });
    this.processes.save();
    for (const spec of [this.wallProgram(template, wanted), ...template.programs]) await this.processes.register(spec);
    await this.made(site, pidFile);
    return { drillId: wanted.drillId, remains: this.remains(site) };
  }

  private async made(site: string, pidFile: string): Promise<void> {
    const wall = () => this.ofSite(site).find(({ spec }) => spec.name === wallName(site));
    const ready = async () => fs.existsSync(pidFile) || !wall()?.running;
    await waitUntil(`the bubble ${site} being made`, ready, { deadlineMs: READY_MS });
    if (wall()?.running) return;
    const log = `the supervisor's log of ${wallName(site)}`;
    throw new Refusal(
      422,
      `the bubble ${site} cannot be made; ${log} says why. It needs a network of its own: root or user namespaces, unshare, setpriv, ip`,
    );
  }

  /** Tries each address from inside, by a program that is started as the services are. */
  async connections(site: string, targets: readonly string[]): Promise<unknown> {
    const { template, open } = this.find(site);
    if (!open) throw new Refusal(409, `the bubble ${site} is closed`);
    const argv = [...this.enter(template), process.execPath, path.join(projectRoot(), 'dist/lab/bubble/connect.js')];
    const env = { BUBBLE_TARGETS: JSON.stringify(targets) };
    return JSON.parse(await runToEnd({ argv, env, cwd: template.folder }, { deadlineMs: PROBE_MS }));
  }

  async close(site: string): Promise<{ drillId: null; remains: readonly string[] }> {
    const { template } = this.find(site);
    await this.processes.stopServices(site);
    for (const { spec } of this.ofSite(site)) await this.processes.unregister(spec.name);
    fs.rmSync(template.folder, { recursive: true, force: true });
    this.bubbles[site] = { template, open: null };
    this.processes.save();
    return { drillId: null, remains: this.remains(site) };
  }

  look(site: string): { drillId: string | null; remains: readonly string[] } {
    return { drillId: this.find(site).open?.drillId ?? null, remains: this.remains(site) };
  }

  private remains(site: string): string[] {
    const { open, template } = this.find(site);
    return [
      ...(open ? [`bubble ${site}, open for drill ${open.drillId}`] : []),
      ...this.ofSite(site).map(({ spec }) => `process ${spec.name} in the bubble ${site}`),
      ...(fs.existsSync(template.folder) ? [`folder ${template.folder}`] : []),
    ];
  }

  private wallProgram({ site, folder }: BubbleTemplate, { copies }: OpenBubble): ProgramSpec {
    const door =
      (kind: string) =>
      (address: string, index: number): Door => {
        return { address, socket: path.join(folder, `${kind}-${index}.sock`) };
      };
    const doors: Doors = {
      in: this.processes.addresses(site).map(door('in')),
      out: Object.values(copies).map(door('out')),
    };
    const argv = [process.execPath, path.join(projectRoot(), 'dist/lab/bubble/outside.js')];
    const env = { BUBBLE_DOORS: JSON.stringify(doors), BUBBLE_PID_FILE: path.join(folder, 'inside.pid') };
    // Not started again: what was inside is gone with it, and the drill has to know.
    return { name: wallName(site), site, kind: 'program', argv, env, cwd: folder, restart: false };
  }

  /** What is put before a command so that it runs inside (nsenter(1)). */
  private enter(template: BubbleTemplate): string[] {
    const pid = Number(fs.readFileSync(this.pidFile(template), 'utf8'));
    const namespaces = `/proc/${pid}/ns`;
    const user = process.getuid?.() === 0 ? [] : ['--preserve-credentials', `--user=${namespaces}/user`];
    return ['nsenter', ...user, `--net=${namespaces}/net`, '--'];
  }

  private pidFile({ folder }: BubbleTemplate): string {
    return path.join(folder, 'inside.pid');
  }

  private ofSite(site: string): Program[] {
    return this.processes.programs().filter(({ spec }) => spec.site === site);
  }

  private find(site: string): Bubble {
    const bubble = this.bubbles[site];
    if (!bubble) throw new Refusal(404, `there is no bubble ${site}`);
    return bubble;
  }

  /** A state file of before there were bubbles has none. */
  private get bubbles(): Record<string, Bubble> {
    return (this.state.bubbles ??= {});
  }
}

const wallName = (site: string) => `${site}-wall`;

type Bubble = NonNullable<SupervisorState['bubbles']>[string];
