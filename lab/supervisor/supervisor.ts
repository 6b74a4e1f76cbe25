import * as fs from 'node:fs';
import * as path from 'node:path';
import { isAlive, killTree } from '../servers/process-tree';
import {
  type Fence,
  type FenceAnswer,
  isFenced,
  mayLift,
  raiseFence,
  type UnfenceAnswer,
  withoutStore,
} from './fences';
import { type Hold, Program, type ProgramSpec, type ProgramStatus, stillAlive } from './program';
import { endsOf, makeStandbys } from './postgresql-cluster';
import { forgetPid, leftovers, recordPid } from './pid-files';
import { Bubbles } from './bubbles';
import { Refusal } from './refusal';
import { crashAll, SiteServices } from './site-services';
import { readState, type SupervisorState, writeState } from './state-file';

/**
 * Owns every process of a lab. It plays the host agent and power switch of each site (kill, fence) and the process manager
 * of its services. What it was told survives it: after a restart it starts what should run, and nothing else.
 */
export class Supervisor {
  private readonly folder: string;
  private readonly state: SupervisorState;
  private readonly programs = new Map<string, Program>();
  readonly services: SiteServices;
  readonly bubbles: Bubbles;
  private closing = false;

  constructor(folder: string) {
    this.folder = folder;
    for (const each of ['pids', 'logs']) fs.mkdirSync(path.join(folder, each), { recursive: true });
    this.state = readState(this.stateFile);
    const processes = {
      programs: () => [...this.programs.values()],
      register: (spec: ProgramSpec) => this.register(spec),
      unregister: (name: string) => this.unregister(name),
      save: () => this.save(),
    };
    this.services = new SiteServices(this.state, { ...processes, wallOf: (site) => this.bubbles.wallOf(site) });
    this.bubbles = new Bubbles(this.state, {
      ...processes,
      addresses: (site) => this.services.addresses(site),
      stopServices: (site) => this.services.stopAll(site),
    });
  }

  /** Ends what an earlier supervisor left behind, then starts what should run. */
  async resume(): Promise<void> {
    const others = leftovers(this.pidFolder).filter(
      ({ identity }) => identity.pid !== process.pid && isAlive(identity),
    );
    await Promise.all(others.map(({ identity }) => killTree(identity.pid)));
    for (const { spec, hold } of Object.values(this.state.programs)) this.adopt(spec, hold);
  }

  processes(): ProgramStatus[] {
    return [...this.programs.values()].map((program) => program.status());
  }

  specs(): ProgramSpec[] {
    return [...this.programs.values()].map(({ spec }) => spec);
  }

  /** Registers a program and starts it, unless its site is down or fenced. The same again changes nothing. */
  async register(spec: ProgramSpec): Promise<ProgramStatus> {
    const known = this.programs.get(spec.name);
    if (known && JSON.stringify(known.spec) === JSON.stringify(spec)) return known.status();
    const hold = known?.hold ?? this.initialHold(spec);
    if (known) await known.stop();
    const program = this.adopt(spec, hold);
    this.save();
    return program.status();
  }

  async unregister(name: string): Promise<void> {
    await this.find(name).stop();
    this.programs.delete(name);
    delete this.state.programs[name];
    this.save();
  }

  start(name: string): ProgramStatus {
    const program = this.find(name);
    const fence = this.state.fences[program.spec.site];
    if (isFenced(fence, program.spec))
      throw new Refusal(409, `${name} is fenced by epoch ${fence?.epoch}: lift the fence of its site first`);
    program.start();
    return program.status();
  }

  async stop(name: string): Promise<ProgramStatus> {
    const program = this.find(name);
    await program.stop();
    this.rememberBefore(program, 'stopped');
    return program.status();
  }

  async kill(name: string): Promise<ProgramStatus> {
    const program = this.find(name);
    await program.kill('killed');
    this.rememberBefore(program, 'killed');
    return program.status();
  }

  signal(name: string, signal: NodeJS.Signals): ProgramStatus {
    this.find(name).signal(signal);
    return this.find(name).status();
  }

  /** SIGKILL to the processes of a store at a site, as when they crash: they are started again by themselves. */
  async crashStore(site: string, store: string): Promise<string[]> {
    this.refuseUnknownStores(site, [store]);
    const running = this.ofSite(site).filter(({ spec, running: runs }) => runs && spec.store === store);
    if (running.length === 0) throw new Refusal(404, `no process of store ${store} runs at site ${site}`);
    return crashAll(running);
  }

  /** SIGKILL for everything of the site, as when its power goes; it stays down until `startSite`. */
  async killSite(site: string): Promise<ProgramStatus[]> {
    const victims = this.ofSite(site);
    await Promise.all(victims.map((program) => program.kill('killed')));
    for (const program of victims) this.rememberBefore(program, 'killed');
    return victims.map((program) => program.status());
  }

  /** Starts everything of the site but what is fenced. */
  startSite(site: string): ProgramStatus[] {
    const fence = this.state.fences[site];
    for (const program of this.ofSite(site)) {
      if (isFenced(fence, program.spec)) {
        program.hold = 'fenced';
        this.rememberBefore(program, null);
      } else program.start();
    }
    this.save();
    return this.ofSite(site).map((program) => program.status());
  }

  fenceOf(site: string): Fence | null {
    this.ofSite(site);
    return this.state.fences[site] ?? null;
  }

  /**
   * Makes the site unable to write and proves it. The marker is durable before the first process ends. `endWithinSeconds`: how
   * long each may take to shut down cleanly before it is killed.
   */
  async fence(
    site: string,
    epoch: number,
    stores: readonly string[] | null,
    endWithinSeconds = 0,
  ): Promise<FenceAnswer> {
    this.refuseUnknownStores(site, stores);
    const raised = raiseFence(this.state.fences[site], epoch, stores);
    const covered = this.ofSite(site).filter((program) => isFenced(raised, program.spec));
    const holds = covered.filter(({ hold }) => hold !== 'fenced').map(({ spec, hold }) => [spec.name, hold] as const);
    const fence = { ...raised, before: { ...raised.before, ...Object.fromEntries(holds) } };
    this.state.fences[site] = fence;
    this.save();
    const victims = (
      await Promise.all(covered.map((program) => program.kill('fenced', { askSeconds: endWithinSeconds })))
    ).flat();
    const alive = [...covered.filter(stillAlive).map(({ process }) => process), ...victims.filter(isAlive)];
    if (alive.length > 0)
      throw new Error(`site ${site} is not fenced: ${alive.map((each) => each?.pid).join(', ')} still run`);
    const processes = covered.map(
      ({ spec, process }) => ({ name: spec.name, pid: process?.pid ?? null, gone: true }) as const,
    );
    // A fence that kills asks for nothing more: what cannot be read must not keep it from being proven.
    const ended = endWithinSeconds > 0 ? await endsOf(covered.map(({ spec }) => spec)) : [];
    return { site, epoch: fence.epoch, at: fence.at, stores: fence.stores, processes, ended };
  }

  /** Starts a store of the site as a standby, which was shut down cleanly under the fence of this epoch, and lifts the fence from it. */
  async startStandby(site: string, store: string, epoch: number): Promise<ProgramStatus[]> {
    this.refuseUnknownStores(site, [store]);
    const servers = this.ofSite(site).filter(({ spec }) => spec.kind === 'store' && spec.store === store);
    const fence = this.state.fences[site];
    if (fence && fence.epoch !== epoch) throw new Refusal(409, `epoch ${fence.epoch} holds the fence, not ${epoch}`);
    if (!servers.some(({ running, hold }) => running && hold === null)) {
      await makeStandbys(servers.map(({ spec }) => spec));
      const left = fence && withoutStore(fence, store, this.ofSite(site));
      if (left) this.state.fences[site] = left;
      else this.unfence(site, epoch);
      this.save();
      for (const program of servers) program.start();
    }
    return servers.map((program) => program.status());
  }

  /**
   * Lifts the fence. It starts nothing by itself, because after a promotion only a person or a failback knows in which
   * role; with `restart`, for an undo before the promotion, what ran before the fence runs again. A node has no role: the
   * cluster says which pods it runs, so that it runs again in any case. Null: there was no fence.
   */
  unfence(site: string, epoch: number, restart = false): UnfenceAnswer | null {
    const fence = this.fenceOf(site);
    if (!fence) return null;
    mayLift(fence, epoch);
    delete this.state.fences[site];
    const covered = this.ofSite(site).filter(({ hold }) => hold === 'fenced');
    const processes = covered.map((program) => {
      const before = fence.before?.[program.spec.name];
      const started = before === null && (restart || program.spec.kind === 'node');
      program.hold = started ? null : before || 'stopped';
      return { name: program.spec.name, started };
    });
    // Durable before the first start: a supervisor that dies here starts them when it is back.
    this.save();
    for (const program of covered) if (program.hold === null) program.start();
    return { site, processes };
  }

  /** Stops everything, what uses the stores before the stores. What should run is remembered for the next start. */
  async shutdown(): Promise<void> {
    this.closing = true;
    const rank = (program: Program) =>
      program.spec.kind === 'store' ? 1 : program.spec.kind === 'infrastructure' ? 2 : 0;
    for (const turn of [0, 1, 2])
      await Promise.all([...this.programs.values()].filter((each) => rank(each) === turn).map((each) => each.stop()));
  }

  private adopt(spec: ProgramSpec, hold: Hold): Program {
    const log = path.join(this.folder, 'logs', `${spec.name}.log`);
    const program = new Program(spec, hold, log, (changed) => this.programChanged(changed));
    this.programs.set(spec.name, program);
    this.state.programs[spec.name] = { spec, hold };
    if (hold === null) program.start();
    return program;
  }

  /** A program added to a site whose stores were all killed stays down too: the site has no power. */
  private initialHold(spec: ProgramSpec): Hold {
    if (isFenced(this.state.fences[spec.site], spec)) return 'fenced';
    const stores = [...this.programs.values()].filter(
      (each) => each.spec.site === spec.site && each.spec.kind === 'store',
    );
    return stores.length > 0 && stores.every((store) => store.hold === 'killed') ? 'killed' : null;
  }

  /** What a person did to a program while its site was fenced holds when the fence is lifted. */
  private rememberBefore({ spec, hold }: Program, before: Hold): void {
    const fence = this.state.fences[spec.site];
    if (!fence || hold !== 'fenced') return;
    this.state.fences[spec.site] = { ...fence, before: { ...fence.before, [spec.name]: before } };
    this.save();
  }

  private programChanged(program: Program): void {
    if (this.programs.get(program.spec.name) !== program) return;
    if (program.running && program.process) recordPid(this.pidFolder, program.spec.name, program.process);
    else forgetPid(this.pidFolder, program.spec.name);
    if (program.spec.kind === 'service') this.services.tellGateway(program.spec.site);
    if (!this.closing) this.save();
  }

  private find(name: string): Program {
    const program = this.programs.get(name);
    if (!program) throw new Refusal(404, `there is no process ${name}`);
    return program;
  }

  private ofSite(site: string): Program[] {
    const found = [...this.programs.values()].filter((program) => program.spec.site === site);
    if (found.length === 0) throw new Refusal(404, `there is no site ${site}`);
    return found;
  }

  private refuseUnknownStores(site: string, stores: readonly string[] | null): void {
    const known = new Set(this.ofSite(site).map(({ spec }) => spec.store));
    const unknown = (stores ?? []).filter((store) => !known.has(store));
    if (unknown.length > 0) throw new Refusal(404, `site ${site} has no process of store ${unknown.join(', ')}`);
  }

  private save(): void {
    for (const [name, program] of this.programs) this.state.programs[name] = { spec: program.spec, hold: program.hold };
    writeState(this.stateFile, this.state);
  }

  private get stateFile(): string {
    return path.join(this.folder, 'state.json');
  }

  private get pidFolder(): string {
    return path.join(this.folder, 'pids');
  }
}
