import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** The rules of the house that tools hold: types, lint with the import directions, format, the compose file. */
const ROOT = join(__dirname, '..', '..');
const bin = (name: string) => join(ROOT, 'node_modules', '.bin', name);

function run(program: string, args: readonly string[]): { status: number | null; output: string } {
  const { status, stdout, stderr, error } = spawnSync(program, args, { cwd: ROOT, encoding: 'utf8' });
  return { status: error ? null : status, output: `${stdout}${stderr}${error ?? ''}` };
}

test.each([
  ['types', bin('tsc'), ['--noEmit', '--incremental', 'false']],
  ['lint', bin('oxlint'), ['--type-aware', '--deny-warnings', '.']],
  ['format', bin('prettier'), ['--check', '.']],
])(
  '%s',
  (_, program, args) => {
    const { status, output } = run(program, args);
    expect({ status, output: status === 0 ? '' : output }).toEqual({ status: 0, output: '' });
  },
  180_000,
);

test.each([
  ['core/x.ts', "import '../adapters/repository/local';", 'pure domain'],
  ['workflows/x.ts', "import { readFile } from 'node:fs/promises';\nexport const x = readFile;", 'deterministic'],
  [
    'workflows/x.ts',
    "import { createActivities } from '../activities';\nexport const x = createActivities;",
    'types of activities',
  ],
  ['activities/x.ts', "import '../adapters/repository/local';", 'core interfaces only'],
  ['adapters/x.ts', "import '../activities';", 'knows core only'],
  ['config/x.ts', "import '../adapters/repository/local';", 'settings and the engine registry only'],
  ['starters/x.ts', "import '../lab/lab';", 'the lab is for the demo'],
])('the lint refuses an import against the direction of the house: %s', (file, text, reason) => {
  const folder = mkdtempSync(join(ROOT, '.house-'));
  try {
    const path = join(folder, file);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, `${text}\n`);
    writeFileSync(join(folder, '.oxlintrc.json'), readFileSync(join(ROOT, '.oxlintrc.json')));
    const { status, output } = run(bin('oxlint'), ['--config', join(folder, '.oxlintrc.json'), folder]);
    expect(status).not.toBe(0);
    expect(output).toContain(reason);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

const compose = ['/usr/bin/docker-compose', '/usr/local/bin/docker-compose'].find((each) => existsSync(each));
// Debian's package in CI; a person's machine may have none, and then this is listed as not run.
(compose || process.env['CI'] ? test : test.skip)('docker-compose accepts the compose file', () => {
  const { status, output } = run(compose ?? 'docker-compose', ['-f', 'docker-compose.temporal.yml', 'config', '-q']);
  // oxlint-disable-next-line jest/no-standalone-expect -- it does not see that the line above is a test
  expect({ status, output }).toEqual({ status: 0, output: '' });
});
