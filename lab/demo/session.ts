import { spawn } from 'node:child_process';
import * as path from 'node:path';
import { projectRoot } from '../runtime/servers';

/** A claim of the demo that did not hold. */
export class ClaimFailed extends Error {}

/** Fails the demo with the reason. */
export function claim(holds: boolean, what: string): asserts holds {
  if (!holds) throw new ClaimFailed(what);
}

/** Several times what the longest command of the demo takes on a busy machine. */
const UNATTENDED_MILLISECONDS = 180_000;

/** What the person sees: chapters, the commands as they would type them, and their own output. */
export class DemoSession {
  readonly config: string;
  private readonly startedAt = Date.now();

  constructor(config: string) {
    this.config = config;
  }

  chapter(title: string): void {
    const elapsed = ((Date.now() - this.startedAt) / 1_000).toFixed(0).padStart(3);
    this.say(`\n[${elapsed} s] ${title}`);
  }

  say(line: string): void {
    process.stdout.write(`${line}\n`);
  }

  /** Runs a command of drctl with its output in view. Throws where it ends with another code than 0. */
  async drctl(...args: string[]): Promise<void> {
    this.say(`$ drctl ${args.map((arg) => (/[\s"]/.test(arg) ? JSON.stringify(arg) : arg)).join(' ')}`);
    const code = await this.run(args, 'inherit');
    claim(code.exitCode === 0, `"drctl ${args.join(' ')}" ended with exit code ${code.exitCode}`);
  }

  /** Runs a command of drctl out of sight and reads its JSON. */
  async ask<T>(...args: string[]): Promise<T> {
    const { exitCode, output } = await this.run([...args, '--output', 'json'], 'pipe');
    claim(exitCode === 0, `"drctl ${args.join(' ')}" ended with exit code ${exitCode}: ${output}`);
    return JSON.parse(output) as T;
  }

  private run(args: string[], stdout: 'inherit' | 'pipe'): Promise<{ exitCode: number; output: string }> {
    const drctl = path.join(projectRoot(), 'drctl');
    const env = { ...process.env, DRCTL_CONFIG: this.config };
    const child = spawn(drctl, args, {
      env,
      stdio: ['inherit', stdout, 'inherit'],
      // A run that waits for a person would wait for ever where nobody is asked.
      ...(process.stdin.isTTY ? {} : { timeout: UNATTENDED_MILLISECONDS }),
    });
    let output = '';
    child.stdout?.setEncoding('utf8').on('data', (text: string) => (output += text));
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (exitCode) => resolve({ exitCode: exitCode ?? 1, output }));
    });
  }
}
