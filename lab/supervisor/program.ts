import type { ChildProcess } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { identify, isAlive, killTree, type ProcessIdentity } from '../servers/process-tree';
import { type ServerCommand, spawnServer } from '../servers/process';
import type { PostgresqlCluster } from './postgresql-cluster';

/** What the supervisor needs to know to run a program; kept in its state file, so it holds no secrets. */
export interface ProgramSpec extends ServerCommand {
  readonly name: string;
  readonly site: string;
  readonly kind: 'store' | 'service' | 'node' | 'gateway' | 'worker' | 'infrastructure' | 'program';
  /** The store this process belongs to, as the application's config names it. */
  readonly store?: string;
  /** Started again when it ends by itself. */
  readonly restart: boolean;
  readonly stopSignal?: NodeJS.Signals;
  /** Where it is a PostgreSQL server. */
  readonly postgresql?: PostgresqlCluster;
  /** A service is ready when this URL answers 200. */
  readonly healthUrl?: string;
}

/** Why a program must not run. `null`: it should run. */
export type Hold = 'stopped' | 'killed' | 'fenced' | null;
export type ProgramState = 'running' | 'starting' | 'failed' | Exclude<Hold, null>;

export interface ProgramStatus {
  readonly name: string;
  readonly site: string;
  readonly kind: string;
  readonly store?: string;
  readonly pid: number | null;
  readonly state: ProgramState;
  readonly startedAt: string | null;
  readonly restarts: number;
}

const STOP_GRACE_MS = 10_000;
/** SeaweedFS and Temporal wait ten seconds for idle connections; both recover from a kill, and a person waits for `down`. */
const INFRASTRUCTURE_GRACE_MS = 1_500;
/** A program that crashes at once is tried again ever more slowly, and never given up: its cause may pass. */
const BACKOFF_MS = { first: 200, longest: 5_000 };
/** A program that lived this long had started well: its next crash counts from the beginning. */
const STABLE_MS = 10_000;

/** One supervised process: started, watched, restarted, killed. Every method may be called in any state, repeatedly. */
export class Program {
  readonly spec: ProgramSpec;
  private readonly logFile: string;
  private readonly changed: (program: Program) => void;
  private child: ChildProcess | null = null;
  private identity: ProcessIdentity | null = null;
  private startedAtMs: number | null = null;
  private restarts = 0;
  private quickDeaths = 0;
  private retry: NodeJS.Timeout | null = null;
  hold: Hold;

  constructor(spec: ProgramSpec, hold: Hold, logFile: string, changed: (program: Program) => void) {
    this.spec = spec;
    this.hold = hold;
    this.logFile = logFile;
    this.changed = changed;
  }

  /** The process that runs now, or the last that ran; null when none has been started by this supervisor. */
  get process(): ProcessIdentity | null {
    return this.identity;
  }

  get running(): boolean {
    return this.child !== null;
  }

  status(): ProgramStatus {
    const { name, site, kind, store } = this.spec;
    const pid = this.running ? (this.identity?.pid ?? null) : null;
    const startedAt = this.startedAtMs === null ? null : new Date(this.startedAtMs).toISOString();
    return { name, site, kind, store, pid, state: this.state(), startedAt, restarts: this.restarts };
  }

  start(): void {
    this.hold = null;
    this.cancelRetry();
    if (!this.running) this.spawn();
    this.changed(this);
  }

  /** Asks it to stop, repeatedly (Redis drops the request while it writes its first AOF), and kills it when it does not. */
  async stop(): Promise<void> {
    this.holdAs('stopped');
    await this.askToEnd(this.spec.kind === 'infrastructure' ? INFRASTRUCTURE_GRACE_MS : STOP_GRACE_MS);
    await this.killNow();
  }

  /** Kills it with all its children and resolves, with what was killed, when none is left. Asks it to end by itself first, for so long. */
  async kill(hold: Exclude<Hold, null>, { askSeconds = 0 } = {}): Promise<ProcessIdentity[]> {
    this.holdAs(hold);
    await this.askToEnd(askSeconds * 1_000);
    return this.killNow();
  }

  signal(signal: NodeJS.Signals): void {
    if (this.child?.pid !== undefined) process.kill(this.child.pid, signal);
  }

  private async askToEnd(graceMs: number): Promise<void> {
    const deadline = Date.now() + graceMs;
    while (this.running && Date.now() < deadline) {
      this.signal(this.spec.stopSignal ?? 'SIGTERM');
      await this.gone(Math.min(1_000, deadline - Date.now()));
    }
  }

  private async killNow(): Promise<ProcessIdentity[]> {
    const victims = this.child?.pid === undefined ? [] : await killTree(this.child.pid);
    await this.gone(STOP_GRACE_MS);
    return victims;
  }

  private holdAs(hold: Hold): void {
    // A stronger hold stays: stopping a fenced program does not make it one that may be started.
    if (this.hold !== 'fenced' || hold === null) this.hold = hold;
    this.cancelRetry();
    this.changed(this);
  }

  private state(): ProgramState {
    if (this.running) return 'running';
    if (this.hold !== null) return this.hold;
    return this.retry === null ? 'failed' : 'starting';
  }

  private spawn(): void {
    const child = spawnServer(this.spec, this.logFile);
    this.child = child;
    this.identity = child.pid === undefined ? null : identify(child.pid);
    this.startedAtMs = Date.now();
    child.once('exit', () => this.ended(child));
    child.once('error', () => this.ended(child)); // the program is not there; its log stays empty, the state says failed
  }

  private ended(child: ChildProcess): void {
    if (this.child !== child) return;
    this.child = null;
    if (this.hold === null && this.spec.restart) this.restartLater();
    this.changed(this);
  }

  private restartLater(): void {
    this.quickDeaths = Date.now() - (this.startedAtMs ?? 0) > STABLE_MS ? 0 : this.quickDeaths + 1;
    const pauseMs = Math.min(BACKOFF_MS.first * 2 ** this.quickDeaths, BACKOFF_MS.longest);
    this.retry = setTimeout(() => {
      this.retry = null;
      this.restarts += 1;
      this.start();
    }, pauseMs);
  }

  private cancelRetry(): void {
    if (this.retry) clearTimeout(this.retry);
    this.retry = null;
  }

  private async gone(deadlineMs: number): Promise<void> {
    const deadline = Date.now() + deadlineMs;
    while (this.running && Date.now() < deadline) await delay(20);
  }
}

/** True when the program's process, also one of an earlier life, is still there. */
export function stillAlive(program: Program): boolean {
  return program.process !== null && isAlive(program.process);
}
