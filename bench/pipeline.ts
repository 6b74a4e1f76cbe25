import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable } from 'node:stream';

export interface Stage {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** A pipeline of a benchmark that takes longer than this hangs. */
const DEADLINE_MILLISECONDS = 1_800_000;

/**
 * Runs programs as a shell's pipe would, without a shell: the kernel connects them, no byte passes through this process.
 * Resolves to what the last one printed; rejects with the first that failed.
 */
export async function pipeline(stages: readonly Stage[]): Promise<string> {
  const signal = AbortSignal.timeout(DEADLINE_MILLISECONDS);
  let from: Readable | null = null;
  const children: ChildProcess[] = [];
  for (const { argv, env } of stages) {
    const [program, ...args] = argv;
    const child: ChildProcess = spawn(program as string, args, {
      stdio: [from ?? 'ignore', 'pipe', 'inherit'],
      env: { ...process.env, ...env },
      signal,
      killSignal: 'SIGKILL',
    });
    // The next program has a copy of the descriptor; ours would keep the pipe open and take bytes from it.
    from?.destroy();
    from = child.stdout;
    children.push(child);
  }
  let printed = '';
  children
    .at(-1)
    ?.stdout?.setEncoding('utf8')
    .on('data', (text: string) => (printed += text));
  await Promise.all(children.map((child, index) => ended(child, (stages[index] as Stage).argv[0] as string)));
  return printed;
}

function ended(child: ChildProcess, program: string): Promise<void> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code, signal) =>
      code === 0 ? resolve() : reject(new Error(`${program} ended with ${signal ?? `exit code ${code}`}`)),
    );
  });
}
