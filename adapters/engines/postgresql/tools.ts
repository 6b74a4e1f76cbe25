import { execFile } from 'node:child_process';
import { access } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { failure } from '../../../core/errors';

const run = promisify(execFile);

/**
 * The path of one of PostgreSQL's own programs of this major version: from the configured folder, else where Debian and
 * the RPMs of the PostgreSQL project put it, else from PATH. Throws ToolMissing saying where it was looked for.
 */
export async function findTool(name: string, major: number, directory: string | undefined): Promise<string> {
  const places = directory
    ? [directory]
    : [
        `/usr/lib/postgresql/${major}/bin`,
        `/usr/pgsql-${major}/bin`,
        ...(process.env['PATH'] ?? '').split(path.delimiter),
      ];
  const others: string[] = [];
  for (const place of places.filter((each) => each !== '')) {
    const program = path.join(place, name);
    if (
      !(await access(program).then(
        () => true,
        () => false,
      ))
    )
      continue; // not there: the next place may have it
    const { stdout } = await run(program, ['--version'], { timeout: 10_000 });
    // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)", "postgres (PostgreSQL) 19devel"
    const found = Number(/\(PostgreSQL\) (\d+)/.exec(stdout)?.[1]);
    if (found === major) return program;
    others.push(`${program} is version ${found}`);
  }
  const seen = others.length > 0 ? `; ${others.join(', ')}` : '';
  throw failure(
    'ToolMissing',
    `the program "${name}" of PostgreSQL ${major} was not found in ${places.join(', ')}${seen}`,
    {
      next: `Install PostgreSQL ${major} on this worker, or name its folder as toolsDirectory of the store.`,
    },
  );
}
