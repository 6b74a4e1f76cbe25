import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { cacheFolder } from './servers';

/**
 * The folder into which Debian's packages are unpacked, once, in the cache that every clone shares. They are not installed, so
 * no service of theirs starts; `finish` may add to them. Null where they cannot be had, as on a machine without Debian's lists.
 */
export function unpackedPackages(
  name: string,
  packages: readonly string[],
  finish: (folder: string) => void = () => undefined,
): string | null {
  const folder = path.join(cacheFolder(), 'debian', name);
  if (fs.existsSync(folder)) return folder;
  const parent = path.dirname(folder);
  fs.mkdirSync(parent, { recursive: true, mode: 0o755 });
  const scratch = fs.mkdtempSync(path.join(parent, '.download-'));
  // apt verifies what it downloads against Debian's signed lists.
  const run = (program: string, args: readonly string[]) =>
    spawnSync(program, args, { cwd: scratch, stdio: 'ignore', timeout: 300_000 }).status === 0;
  const download = () => run('apt-get', ['-qq', 'download', ...packages]);
  try {
    // A fresh machine has no lists yet; only root can fetch them.
    if (!download() && !(run('apt-get', ['-qq', 'update']) && download())) return null;
    const files = fs.readdirSync(scratch).filter((file) => file.endsWith('.deb'));
    if (files.length < packages.length) return null;
    for (const file of files) if (!run('dpkg-deb', ['-x', file, 'unpacked'])) return null;
    const unpacked = path.join(scratch, 'unpacked');
    finish(unpacked);
    // Servers of the lab run as another user, who may enter it.
    fs.chmodSync(unpacked, 0o755);
    appearAs(folder, unpacked);
    return folder;
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}

/** At once or not at all. Of two processes that unpacked it beside each other the first one's stays. */
function appearAs(folder: string, unpacked: string): void {
  try {
    fs.renameSync(unpacked, folder);
  } catch (error) {
    if (!fs.existsSync(folder)) throw error;
  }
}
