import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { parseArgs } from 'node:util';
import { projectRoot } from '../lab/runtime/servers';
import { company, machineFacts } from './machine';
import { saveResult } from './results-file';

interface Area {
  /** Regular expressions of jest, matched against the tests' paths. */
  readonly tests: readonly string[];
  /** The full counts; `npm test` runs the tests' own, smaller ones. */
  readonly counts: Readonly<Record<string, string>>;
}

/** What each count means is said in test/support/random.ts, which all randomised tests take them from. */
const AREAS: Readonly<Record<string, Area>> = {
  kills: { tests: ['test/e2e/', 'test/workflows/drill'], counts: { DRCTL_KILLS: '20' } },
  // Five faults: four rounds of each, of one to four minutes. Then a dozen switchovers, of one or two.
  failover: {
    tests: ['test/e2e/consistency', 'test/e2e/switchover', 'test/unit/consistency'],
    counts: { DRCTL_ROUNDS: '20', DRCTL_KILLS: '20' },
  },
  postgresql: {
    tests: ['test/integration/postgresql', 'test/unit/postgresql'],
    // Ten kinds of target on each version: six of each.
    counts: { DRCTL_ROUNDS: '20', DRCTL_TARGETS: '60', DRCTL_KILLS: '20', DRCTL_EVERY_VERSION: '1' },
  },
  mongodb: {
    tests: ['test/integration/mongodb', 'test/unit/mongodb'],
    counts: { DRCTL_ROUNDS: '20', DRCTL_STEPS: '5000', DRCTL_TARGETS: '20' },
  },
  redis: {
    tests: ['test/integration/redis', 'test/unit/redis'],
    counts: { DRCTL_ROUNDS: '20', DRCTL_TARGETS: '30', DRCTL_KILLS: '20' },
  },
  files: { tests: ['test/integration/files', 'test/unit/files'], counts: { DRCTL_ROUNDS: '20', DRCTL_STEPS: '20' } },
  retention: {
    // Seven years of the strategy's schedules and what expires meanwhile; a kill at each change that a run makes.
    tests: ['test/unit/retention', 'test/integration/retention'],
    counts: { DRCTL_STEPS: '2700', DRCTL_ROUNDS: '200', DRCTL_KILLS: '200' },
  },
  repository: {
    tests: [
      'test/contract/repository',
      'test/integration/(repository|transfer|volumes|catalog|log-archive)',
      'test/unit/zstd',
    ],
    counts: { DRCTL_ROUNDS: '20' },
  },
  copies: {
    tests: ['test/integration/(copies|fallback)'],
    counts: { DRCTL_KILLS: '200' },
  },
  // Twenty-two of them, a minute or so each; five where Prometheus, or the rule, waits for that long.
  alerts: { tests: ['test/e2e/alerts'], counts: { DRCTL_CAUSES: '1' } },
  proof: { tests: ['test/integration/proof-damage'], counts: { DRCTL_ROUNDS: '1000', DRCTL_TARGETS: '60' } },
};

/** For tests that set none of their own: sixty rounds on a machine ten times as slow. It ends a hang; time decides nothing. */
const TEST_MILLISECONDS = 7_200_000;

const USAGE = `usage: npm run test:deep -- AREA [--seed N]

Runs the tests of an area with full counts and writes bench/results/<date>-deep-AREA.json.

${Object.entries(AREAS)
  .map(
    ([name, { counts }]) =>
      `  ${name.padEnd(11)} ${Object.entries(counts)
        .map((each) => each.join('='))
        .join(' ')}`,
  )
  .join('\n')}

  --seed N   the seed of all random choices; a new one is taken, printed and recorded where it is left out`;

interface JestResult {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly numPendingTests: number;
  readonly numRuntimeErrorTestSuites: number;
  readonly testResults: readonly {
    readonly name: string;
    readonly startTime: number;
    readonly endTime: number;
    readonly assertionResults: readonly { fullName: string; status: string; duration?: number | null }[];
  }[];
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { seed: { type: 'string' }, help: { type: 'boolean', short: 'h', default: false } },
  });
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const [name = ''] = positionals;
  const area = Object.hasOwn(AREAS, name) ? AREAS[name] : undefined;
  if (!area || positionals.length > 1 || (values.seed !== undefined && !/^\d{1,9}$/.test(values.seed))) {
    const wrong = area ? 'one area, and a seed that is a whole number' : `there is no area "${positionals.join(' ')}"`;
    process.stderr.write(`${wrong}; areas: ${Object.keys(AREAS).join(', ')}\nSee: npm run test:deep -- --help\n`);
    return 2;
  }
  const seed = values.seed ?? `${randomInt(1, 1e9)}`;
  process.stderr.write(`area ${name}, seed ${seed}\n`);
  return runArea(name, area, seed);
}

async function runArea(name: string, { tests, counts }: Area, seed: string): Promise<number> {
  const before = await company();
  const startedAt = new Date();
  const { code, result } = await jest(tests, { ...counts, DRCTL_SEED: seed });
  const failed = result.numFailedTests + result.numRuntimeErrorTestSuites;
  const file = saveResult(`deep-${name}`, {
    area: name,
    seed: Number(seed),
    counts,
    startedAt,
    finishedAt: new Date(),
    passed: result.numPassedTests,
    failed,
    skipped: result.numPendingTests,
    machine: machineFacts(),
    before,
    after: await company(),
    files: result.testResults.map(({ name: test, startTime, endTime, assertionResults }) => ({
      file: path.relative(projectRoot(), test),
      seconds: (endTime - startTime) / 1_000,
      tests: assertionResults.map(({ fullName, status, duration }) => ({
        name: fullName,
        status,
        seconds: typeof duration === 'number' ? duration / 1_000 : null,
      })),
    })),
  });
  process.stderr.write(`saved as ${file}\n`);
  process.stdout.write(`${result.numPassedTests} passed, ${failed} failed\n`);
  return code === 0 && failed > 0 ? 1 : code;
}

/** One file after the other: a deep run is long, and its durations are to be compared with those of other days. */
async function jest(
  tests: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<{ code: number; result: JestResult }> {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-deep-'));
  try {
    const output = path.join(folder, 'result.json');
    const options = ['--runInBand', `--testTimeout=${TEST_MILLISECONDS}`, '--json', `--outputFile=${output}`];
    // The MongoDB driver and the Kubernetes client import modules dynamically, which jest's sandbox allows only with this flag.
    const program = ['--experimental-vm-modules', '--no-warnings=ExperimentalWarning'];
    const jestFile = path.join(projectRoot(), 'node_modules/jest/bin/jest.js');
    const child = spawn(process.execPath, [...program, jestFile, ...options, ...tests], {
      cwd: projectRoot(),
      env: { ...process.env, ...env },
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => child.kill(signal));
    const code = await new Promise<number>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (status) => resolve(status ?? 1));
    });
    if (!fs.existsSync(output)) throw new Error(`jest ended with ${code} and left no result`);
    return { code, result: JSON.parse(fs.readFileSync(output, 'utf8')) as JestResult };
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

main().then(
  (code) => (process.exitCode = code),
  (error: unknown) => {
    process.stderr.write(`${String(error)}\n`);
    process.exitCode = 1;
  },
);
