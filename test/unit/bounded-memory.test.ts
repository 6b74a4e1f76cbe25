import { spawnSync } from 'node:child_process';
import * as path from 'node:path';

const HOOK = path.resolve('test/support/typescript-hook.cjs');
const PROGRAM = `
  const { restartWithBoundedMemory } = require(${JSON.stringify(path.resolve('workers/bounded-memory.ts'))});
  restartWithBoundedMemory();
  const names = Object.keys(process.env).filter((name) => name.startsWith('MALLOC_'));
  const malloc = Object.fromEntries(names.map((name) => [name, process.env[name]]));
  console.log(JSON.stringify({ pid: process.pid, execArgv: process.execArgv, argv: process.argv.slice(1), malloc }));
`;

interface Seen {
  readonly pid: number;
  readonly execArgv: readonly string[];
  readonly argv: readonly string[];
  readonly malloc: Readonly<Record<string, string>>;
}

function run(flags: readonly string[], env: NodeJS.ProcessEnv): { seen: Seen; pid: number } {
  const { PATH } = process.env;
  const args = [...flags, '--require', HOOK, '--eval', PROGRAM, 'first', 'second'];
  const child = spawnSync(process.execPath, args, { env: { PATH, ...env }, encoding: 'utf8' });
  expect(child.stderr).toBe('');
  return { seen: JSON.parse(child.stdout) as Seen, pid: child.pid };
}

test('a worker starts itself again, as the same process, with the settings that bound its memory', () => {
  const { seen, pid } = run([], {});
  expect(seen.pid).toBe(pid);
  expect(seen.malloc).toEqual({
    MALLOC_MMAP_THRESHOLD_: '131072',
    MALLOC_TRIM_THRESHOLD_: '131072',
    MALLOC_ARENA_MAX: '2',
  });
  expect(seen.execArgv).toContain('--max-semi-space-size=4');
  expect(seen.argv).toEqual(['first', 'second']);
});

test('what the person who starts it has set stays', () => {
  const { seen } = run(['--max-semi-space-size=16'], { MALLOC_ARENA_MAX: '8' });
  expect(seen.malloc['MALLOC_ARENA_MAX']).toBe('8');
  expect(seen.malloc['MALLOC_MMAP_THRESHOLD_']).toBe('131072');
  expect(seen.execArgv.filter((each) => each.startsWith('--max-semi-space-size'))).toEqual([
    '--max-semi-space-size=16',
  ]);
});
