import type { ChildProcess } from 'node:child_process';
import * as fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { killTree } from './process-tree';
import { type ServerCommand, spawnServer } from './process';

/** Longest time a server gets to stop by itself. PostgreSQL's shutdown checkpoint is the slowest of them. */
const STOP_GRACE_MS = 10_000;

export interface RunningServerOptions {
  readonly name: string;
  readonly command: ServerCommand;
  readonly logFile: string;
  /** Resolves when the server answers. */
  readonly ready: () => Promise<void>;
  /** The server's own signal for an orderly stop; PostgreSQL's is SIGINT ("fast"). */
  readonly stopSignal?: NodeJS.Signals;
}

/** One server process under this process: it can be killed, started again and stopped, each any number of times. */
export class RunningServer {
  private readonly options: RunningServerOptions;
  private child: ChildProcess | null = null;

  constructor(options: RunningServerOptions) {
    this.options = options;
  }

  get pid(): number | null {
    return this.running() ? (this.child?.pid ?? null) : null;
  }

  get logFile(): string {
    return this.options.logFile;
  }

  /** Starts the process unless it runs, and resolves when it answers. */
  async start(): Promise<this> {
    if (!this.running()) this.child = spawnServer(this.options.command, this.options.logFile);
    const child = this.child as ChildProcess;
    const { promise: death, reject: died } = Promise.withResolvers<never>();
    const onExit = (code: number | null, signal: string | null) =>
      died(new Error(`${this.options.name} ended while it started (${signal ?? code}): ${this.lastWords()}`));
    child.once('exit', onExit).once('error', died);
    try {
      await Promise.race([this.options.ready(), death]);
    } finally {
      child.off('exit', onExit);
    }
    return this;
  }

  /** Sends a signal to the process only; SIGSTOP and SIGCONT return at once, SIGKILL takes its children along and waits. */
  async kill(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.running()) return;
    if (signal !== 'SIGKILL') return void process.kill(this.child?.pid as number, signal);
    await killTree(this.child?.pid as number);
    await this.exited();
  }

  /** Stops in order, and kills what has not stopped within ten seconds. */
  async stop(): Promise<void> {
    if (!this.running()) return;
    // Repeated: a Redis replica that is writing its first AOF drops the request instead of obeying it later.
    const deadline = Date.now() + STOP_GRACE_MS;
    while (this.running() && Date.now() < deadline) {
      process.kill(this.child?.pid as number, this.options.stopSignal ?? 'SIGTERM');
      const pause = new AbortController();
      await Promise.race([this.exited(), delay(1000, undefined, { signal: pause.signal }).catch(() => undefined)]);
      pause.abort();
    }
    await this.kill('SIGKILL');
  }

  private running(): boolean {
    return this.child !== null && this.child.exitCode === null && this.child.signalCode === null;
  }

  private async exited(): Promise<void> {
    if (!this.running()) return;
    await new Promise<void>((resolve) => this.child?.once('exit', () => resolve()));
  }

  private lastWords(): string {
    return fs.readFileSync(this.options.logFile, 'utf8').trim().split('\n').slice(-5).join(' | ');
  }
}
