import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { waitUntil } from './servers';

const ROOT = resolve(__dirname, '../..');

/**
 * Compiles the sources as they are now, so that a test of a program can never run yesterday's. Type errors are the type
 * check's to report; here only what is emitted counts.
 */
export function buildPrograms(): { folder: string; remove(): void } {
  // Below node_modules, where the compiled files find the dependencies.
  const cache = join(ROOT, 'node_modules/.cache');
  mkdirSync(cache, { recursive: true });
  const folder = mkdtempSync(join(cache, 'drctl-programs-'));
  const argv = ['-p', 'tsconfig.build.json', '--outDir', folder, '--incremental', 'false', '--tsBuildInfoFile', 'null'];
  try {
    execFileSync(process.execPath, [join(ROOT, 'node_modules/typescript/bin/tsc'), ...argv], {
      cwd: ROOT,
      stdio: 'pipe',
    });
  } catch (cause) {
    if (!existsSync(join(folder, 'lab'))) throw cause;
  }
  return { folder, remove: () => rmSync(folder, { recursive: true, force: true }) };
}

/** One of the lab's programs as a process of its own, with all that it wrote. */
export interface Program {
  readonly child: ChildProcess;
  output(): string;
  /** Resolves with the exit code, or the name of the signal, and how long the program took to end. */
  end(signal: NodeJS.Signals): Promise<{ status: number | string | null; tookMs: number }>;
}

const started = new Set<ChildProcess>();
if (typeof afterAll === 'function') afterAll(() => started.forEach((child) => child.kill('SIGKILL')));

export function startProgram(file: string, argv: string[], env: Record<string, string>): Program {
  const child = spawn(process.execPath, [file, ...argv], {
    env: { PATH: process.env['PATH'], HOME: process.env['HOME'], ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  started.add(child);
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exited = once(child, 'exit').then(([code, signal]) => (code ?? signal) as number | string | null);
  void exited.then(() => started.delete(child));
  return {
    child,
    output: () => output,
    async end(signal) {
      const sentAtMs = performance.now();
      child.kill(signal);
      const status = await exited;
      return { status, tookMs: performance.now() - sentAtMs };
    },
  };
}

/** Waits until the URL answers with the status, and returns the JSON that it answered. */
export async function answersWith(status: number, url: string, deadlineMs = 15_000): Promise<Record<string, unknown>> {
  let body: unknown;
  const check = async () => {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    body = await response.json();
    if (response.status !== status) throw new Error(`it answered ${response.status} ${JSON.stringify(body)}`);
    return true;
  };
  await waitUntil(`${url} answering ${status}`, check, { deadlineMs });
  return body as Record<string, unknown>;
}
