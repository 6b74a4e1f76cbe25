import { type ChildProcess, spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** A variable may be a secret; a shorter value is none, and a part of every other text. */
const SHORTEST_SECRET = 6;
/** An answer is a line of JSON; a program that prints more is not the one that was meant. */
const MAX_OUTPUT_BYTES = 64 * 1024;

export interface JsonCommand {
  readonly argv: readonly string[];
  /** Names of variables of ours that it is given; no other secret of the worker reaches it. */
  readonly environment: readonly string[];
  readonly timeoutSeconds: number;
  readonly input: unknown;
  readonly signal?: AbortSignal;
}

export class CommandProblem extends Error {
  override readonly name = 'CommandProblem';
  readonly problem: 'missing' | 'late' | 'failed';
  readonly exitCode: number | null;

  constructor(problem: CommandProblem['problem'], message: string, exitCode: number | null = null) {
    super(message);
    this.problem = problem;
    this.exitCode = exitCode;
  }
}

/** Runs the program without a shell: JSON in, JSON out. At the deadline or on cancellation it dies with its children. */
export async function runJsonCommand(command: JsonCommand): Promise<unknown> {
  return parse(await run(command), command.environment);
}

/** The same for a program whose output is for people: its last line. */
export async function runForWords(command: JsonCommand): Promise<string> {
  const said = await run(command);
  return said.trim() === '' ? 'exit 0, no output' : lastLine(said, command.environment);
}

async function run(command: JsonCommand): Promise<string> {
  command.signal?.throwIfAborted();
  const [program = '', ...args] = command.argv;
  const deadline = AbortSignal.timeout(command.timeoutSeconds * 1_000);
  const stop = command.signal ? AbortSignal.any([command.signal, deadline]) : deadline;
  // A group of its own, so that the programs it starts can be killed with it.
  const child = spawn(program, args, { detached: true, env: environmentOf(command.environment), stdio: 'pipe' });
  const killGroup = () => killProcessGroup(child);
  stop.addEventListener('abort', killGroup, { once: true });
  try {
    // With its end: a shell's `read` takes a line without one for the end of the input, and fails.
    const { exitCode, stdout, stderr } = await finish(child, `${JSON.stringify(command.input)}\n`);
    command.signal?.throwIfAborted();
    if (deadline.aborted) throw new CommandProblem('late', `not finished within ${command.timeoutSeconds} s, killed`);
    if (exitCode !== 0) {
      const end = exitCode === null ? 'ended by a signal' : `exit ${exitCode}`;
      throw new CommandProblem('failed', `${end}: ${lastLine(stderr, command.environment)}`, exitCode);
    }
    return stdout;
  } finally {
    stop.removeEventListener('abort', killGroup);
  }
}

/** Where `spawn` would find it; null where it would not. */
export async function findProgram(program: string): Promise<string | null> {
  const folders = program.includes('/') ? [''] : (process.env['PATH'] ?? '').split(delimiter);
  for (const folder of folders) {
    const path = join(folder, program);
    const found = await access(path, constants.X_OK).then(
      () => true,
      () => false, // the next folder may have it
    );
    if (found) return path;
  }
  return null;
}

function environmentOf(names: readonly string[]): NodeJS.ProcessEnv {
  const wanted = ['PATH', 'HOME', 'LANG', ...names];
  return Object.fromEntries(
    wanted.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
  );
}

async function finish(
  child: ChildProcess,
  input: string,
): Promise<{ exitCode: number | null; stdout: string; stderr: string }> {
  const [stdout, stderr] = [collect(child, 'stdout'), collect(child, 'stderr')];
  // A program may end without reading what it was given; its exit status says all.
  child.stdin?.on('error', () => {});
  child.stdin?.end(input);
  const exitCode = await new Promise<number | null>((resolve, reject) => {
    child.once('error', (error: NodeJS.ErrnoException) => {
      const missing = error.code === 'ENOENT' || error.code === 'EACCES';
      reject(new CommandProblem(missing ? 'missing' : 'failed', error.message));
    });
    child.once('close', (code, signal) => resolve(signal === null ? code : null));
  });
  return { exitCode, stdout: stdout(), stderr: stderr() };
}

function collect(child: ChildProcess, name: 'stdout' | 'stderr'): () => string {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  child[name]?.on('data', (chunk: Buffer) => {
    if (sizeBytes < MAX_OUTPUT_BYTES) chunks.push(chunk);
    sizeBytes += chunk.length;
  });
  return () => Buffer.concat(chunks).toString('utf8');
}

function killProcessGroup(child: ChildProcess): void {
  if (child.pid === undefined) return; // it never started
  try {
    process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // ended meanwhile
  }
}

/** Values that the program was given are hidden before anything is cut: what is left of a secret is one too. */
function lastLine(text: string, environment: readonly string[]): string {
  const line = withoutValues(text, environment).trim().split('\n').at(-1) ?? '';
  return line === '' ? 'it said nothing' : line.slice(0, 300);
}

function withoutValues(text: string, environment: readonly string[]): string {
  const values = environment.flatMap((name) => [process.env[name] ?? '', ...(process.env[name] ?? '').split('\n')]);
  return values
    .filter(({ length }) => length >= SHORTEST_SECRET)
    .toSorted((a, b) => b.length - a.length)
    .reduce((shown, value) => shown.replaceAll(value, '***'), text);
}

function parse(text: string, environment: readonly string[]): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw new CommandProblem(
      'failed',
      `its output is not JSON: ${withoutValues(text, environment).trim().slice(0, 100) || 'nothing'}`,
      0,
    );
  }
}
