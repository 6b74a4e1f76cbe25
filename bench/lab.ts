import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import { applicationConfigFile, type LabDescription, labDestroy, labUp, supervisorOf } from '../lab/lab';
import { projectRoot } from '../lab/runtime/servers';
import { waitUntil } from '../lab/servers/process';

/** Several times what the longest command of a benchmark takes on a busy machine. */
const COMMAND_MILLISECONDS = 1_200_000;
/** A worker that was killed is back in seconds; its archivers wait for Temporal to notice that the old one is gone. */
const ARCHIVING_MILLISECONDS = 300_000;
/** Behind by no more than this means that the archiver has caught up: slices come every second or two. */
const CAUGHT_UP_SECONDS = 10;

/** A lab of the benchmark's own and `drctl` for it. */
export interface BenchLab {
  readonly lab: LabDescription;
  /** Runs a command of drctl and reads its JSON. Throws with its last words when it fails. */
  readonly drctl: <T>(...args: string[]) => Promise<T>;
  /** Kills a site's worker, as a fresh process has no memory from before, and answers the new one's id. */
  readonly restartWorker: (site: string) => Promise<number>;
  /** Resolves when the archived log of a store that has a backup is close behind. */
  readonly waitForArchiver: (store: string) => Promise<void>;
}

/** Applies the schedules, which starts the archivers, and takes the first backup of a store: its log has a window from then on. */
export async function protect({ drctl }: BenchLab, store: string): Promise<void> {
  await drctl('schedules', 'apply');
  await drctl('backup', store);
}

/** Runs `work` in a new lab and destroys the lab after it, whatever happened. */
export async function withLab<T>(say: (line: string) => void, work: (lab: BenchLab) => Promise<T>): Promise<T> {
  const name = `bench-${randomBytes(3).toString('hex')}`;
  const interrupted = Promise.withResolvers<never>();
  const stop = (signal: NodeJS.Signals) => interrupted.reject(new Error(`interrupted by ${signal}`));
  process.once('SIGINT', stop).once('SIGTERM', stop);
  try {
    say(`starting a lab (${name})`);
    const lab = await labUp({ name });
    return await Promise.race([work(benchLab(lab)), interrupted.promise]);
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop);
    await labDestroy({ name });
  }
}

function benchLab(lab: LabDescription): BenchLab {
  const supervisor = supervisorOf(lab);
  const drctl = <T>(...args: string[]) => runDrctl(applicationConfigFile(lab), args) as Promise<T>;
  return {
    lab,
    drctl,
    async restartWorker(site) {
      await supervisor.kill(`worker-${site}`);
      const { pid } = await supervisor.start(`worker-${site}`);
      if (pid === null) throw new Error(`the worker of ${site} did not start`);
      return pid;
    },
    async waitForArchiver(store) {
      const caughtUp = async () => {
        const [status] = await drctl<{ atRiskSeconds: number | null }[]>('log', 'status', store);
        return typeof status?.atRiskSeconds === 'number' && status.atRiskSeconds < CAUGHT_UP_SECONDS;
      };
      await waitUntil(`the archived log of ${store} being close behind`, caughtUp, {
        deadlineMs: ARCHIVING_MILLISECONDS,
        intervalMs: 2_000,
      });
    },
  };
}

/** Runs a command of drctl and reads its JSON. Throws with its last words when it fails. */
export async function runDrctl(
  config: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<unknown> {
  const program = path.join(projectRoot(), 'dist/starters/main.js');
  const child = spawn(process.execPath, [program, ...args, '--output', 'json'], {
    env: { ...process.env, ...env, DRCTL_CONFIG: config },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: COMMAND_MILLISECONDS,
  });
  let [output, notes] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (notes += text));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (code !== 0) throw new Error(`"drctl ${args.join(' ')}" ended with exit code ${code}: ${notes.slice(-2_000)}`);
  return JSON.parse(output);
}
