import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import { absent } from '../filesystem/absent';
import { childrenOf, isRunning, type ProcessMark } from './child-processes';
import type { Account } from './restore-host';

const POLL_MILLISECONDS = 50;
const LOG_TAIL_BYTES = 64 * 1024;
/** A killed process is gone at once, unless the kernel waits for its disk. */
const CRASH_MILLISECONDS = 20_000;

/** What differs between the engines' servers; their life is the same. */
export interface ServerTraits {
  readonly workingDirectory: string;
  /**
   * Whether a command line is that of this very server: its pid may have been given to another process since. Not by the
   * working directory, which root may not read of another user's process in a container without CAP_SYS_PTRACE.
   */
  recognises(commandLine: readonly string[]): boolean;
  /** Written by the server itself; the first line is its pid. */
  readonly pidFile: string;
  /** Its standard output and error, appended. */
  readonly logFile: string;
  /** How it is asked to end, then told more firmly: each signal with the time that it gets. The last is SIGKILL. */
  readonly stopSignals: readonly (readonly [signal: NodeJS.Signals, milliseconds: number])[];
  /** Its forks are signalled as well: one that saves would go on writing into the place. */
  readonly stopsGroup?: boolean;
}

export interface ServerStart {
  readonly program: string;
  /** Holds no secret: every user of the host can read it. */
  readonly argv: readonly string[];
  /** Null: the worker's own. */
  readonly account: Account | null;
}

/** What a server is asked until it is ready. */
export interface Readiness<T> {
  /** Throws what will not go away by itself. `waiting` says how far it is: while that changes, it is given more time. */
  look(): Promise<{ readonly ready: T } | { readonly waiting: string }>;
  /** How long it may stand still. */
  readonly patienceMilliseconds: number;
  /** Its process has ended, `reason` says how: what that means. */
  ended(reason: string): Promise<T>;
  /** The error when its patience is over. */
  stuck(): Error | Promise<Error>;
}

/**
 * The server process of a restored place. It outlives the worker, so that every call looks for it by its pid file: an
 * instance may start it, and another one, in a later try of the step, finds and stops it.
 */
export class RestoredServer {
  private readonly traits: ServerTraits;
  private child: ChildProcess | null = null;
  private endedBy: string | null = null;

  constructor(traits: ServerTraits) {
    this.traits = traits;
  }

  /** Its process; null when none runs. A stale pid file counts for nothing. */
  async pid(): Promise<number | null> {
    const text = await fs.readFile(this.traits.pidFile, 'utf8').catch(absent);
    const pid = Number(text?.split('\n')[0]?.trim() || Number.NaN);
    return Number.isInteger(pid) && pid > 1 && (await this.isOurs(pid)) ? pid : null;
  }

  /** Starts the process in a session of its own and returns at once. The caller has seen that none runs. */
  async start({ program, argv, account }: ServerStart): Promise<void> {
    const other = process.getuid?.() === 0 ? account : null; // Nobody else can become another user, see `accountOf`.
    const log = await fs.open(this.traits.logFile, 'a', 0o640);
    try {
      if (other) await log.chown(other.uid, other.gid);
      const child = spawn(program, argv, {
        cwd: this.traits.workingDirectory,
        detached: true,
        stdio: ['ignore', log.fd, log.fd],
        env: { PATH: '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' },
        ...other,
      });
      this.endedBy = null;
      child.once('error', (error) => (this.endedBy = error.message));
      child.once('exit', (code, signal) => (this.endedBy = signal ?? `exit status ${code}`));
      child.unref();
      this.child = child;
    } finally {
      await log.close();
    }
  }

  /** Looks until the server is ready, has ended or stands still. Leaves it as it is, whatever comes out. */
  async whenReady<T>(readiness: Readiness<T>, ctx: CallContext): Promise<T> {
    let [sign, signAt] = ['', Date.now()];
    for (;;) {
      ctx.signal.throwIfAborted();
      const endedBy = this.child ? this.endedBy : (await this.pid()) === null ? 'it runs no more' : null;
      if (endedBy !== null) return readiness.ended(endedBy);
      const found = await readiness.look();
      if ('ready' in found) return found.ready;
      if (found.waiting !== sign) [sign, signAt] = [found.waiting, Date.now()];
      if (Date.now() - signAt > readiness.patienceMilliseconds) throw await readiness.stuck();
      await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
    }
  }

  /** Starts it and waits. Whatever goes wrong, no server stays behind that nobody knows of. */
  async launch<T>(start: ServerStart, readiness: Readiness<T>, ctx: CallContext): Promise<T> {
    await this.start(start);
    try {
      return await this.whenReady(readiness, ctx);
    } catch (error) {
      this.child?.kill('SIGKILL');
      throw error;
    }
  }

  /** Ends the process and sees it gone; fine when none runs. Throws LockHeld for one that not even SIGKILL ends. */
  async stop(): Promise<void> {
    await this.end(this.traits.stopSignals);
  }

  /** Kills the process and what it has started, as a crash would, and sees all of it gone; null where none runs. */
  async crash(): Promise<number | null> {
    const pid = await this.pid();
    const children = pid === null ? [] : await childrenOf(pid);
    await this.end([['SIGKILL', CRASH_MILLISECONDS]]);
    // A server refuses to start beside what is left of its predecessor.
    for (const deadline = Date.now() + CRASH_MILLISECONDS; ; await sleep(POLL_MILLISECONDS)) {
      const left: ProcessMark[] = [];
      for (const child of children) if (await isRunning(child)) left.push(child);
      if (left.length === 0) return pid;
      for (const child of left) signalUnlessGone(child.pid, 'SIGKILL');
      if (Date.now() > deadline)
        throw failure('LockHeld', `processes ${left.map((each) => each.pid).join(', ')} of a killed server do not end`);
    }
  }

  private async end(signals: ServerTraits['stopSignals']): Promise<number | null> {
    const { stopsGroup, workingDirectory } = this.traits;
    const pid = await this.pid();
    if (pid === null) return null;
    for (const [signal, milliseconds] of signals) {
      signalUnlessGone(stopsGroup ? -pid : pid, signal);
      for (const deadline = Date.now() + milliseconds; Date.now() < deadline; await sleep(POLL_MILLISECONDS)) {
        if (await this.isGone(pid)) return pid;
      }
    }
    throw failure('LockHeld', `the restored server ${pid} in ${workingDirectory} does not end`);
  }

  async logBytes(): Promise<number> {
    return (await fs.stat(this.traits.logFile).catch(absent))?.size ?? 0;
  }

  /** The end of its log, of what came after `from` bytes. */
  async logTail(from = 0): Promise<string> {
    const handle = await fs.open(this.traits.logFile, 'r').catch(absent);
    if (!handle) return '';
    try {
      const { size } = await handle.stat();
      const start = Math.max(from, size - LOG_TAIL_BYTES);
      const length = Math.max(0, size - start);
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, start);
      return buffer.toString('utf8', 0, bytesRead);
    } finally {
      await handle.close();
    }
  }

  /** The last words of its log for a message: a few lines, short enough to be read. */
  async lastWords(from = 0): Promise<string> {
    return (await this.logTail(from)).trim().split('\n').slice(-3).join(' | ').slice(-600);
  }

  private async isOurs(pid: number): Promise<boolean> {
    const commandLine = await fs.readFile(`/proc/${pid}/cmdline`, 'utf8').catch(absent);
    return commandLine !== null && this.traits.recognises(commandLine.split('\0'));
  }

  /**
   * Whether a process of ours has given back its port and files. Its command line is gone long before (do_exit in the
   * kernel's exit.c: memory, then files), and its first thread may be a zombie while others still end. A zombie that
   * nobody collects, as in a container without an init, is gone as well.
   */
  private async isGone(pid: number): Promise<boolean> {
    const commandLine = await fs.readFile(`/proc/${pid}/cmdline`, 'utf8').catch(absent);
    if (commandLine === null) return true;
    if (commandLine !== '') return !this.traits.recognises(commandLine.split('\0'));
    const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(absent);
    const threads = await fs.readdir(`/proc/${pid}/task`).catch(absent);
    return stat === null || threads === null || (/\) [ZX] /.test(stat) && threads.length <= 1);
  }
}

function signalUnlessGone(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
