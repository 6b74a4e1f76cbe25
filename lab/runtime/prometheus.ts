import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { cacheFolder } from './servers';

/** Debian's package `prometheus`: the server, and `promtool`, which checks and tests rules. */
export interface PrometheusPrograms {
  readonly prometheus: string;
  readonly promtool: string;
}

/**
 * Where Prometheus lies: of the system, or unpacked once from Debian's package into the cache that every clone shares. It is
 * not installed, so no service of it starts. Null where neither can be had, as on a machine without Debian's package lists.
 */
export function prometheusPrograms(): PrometheusPrograms | null {
  const unpacked = path.join(cacheFolder(), 'debian', 'prometheus');
  return (
    programsIn('/usr') ??
    programsIn(`${unpacked}/usr`) ??
    (unpackPackage(unpacked) ? programsIn(`${unpacked}/usr`) : null)
  );
}

function programsIn(folder: string): PrometheusPrograms | null {
  const programs = { prometheus: `${folder}/bin/prometheus`, promtool: `${folder}/bin/promtool` };
  return Object.values(programs).every((file) => fs.existsSync(file)) ? programs : null;
}

/** apt verifies what it downloads against Debian's signed lists. */
function unpackPackage(folder: string): boolean {
  const parent = path.dirname(folder);
  fs.mkdirSync(parent, { recursive: true, mode: 0o755 });
  const scratch = fs.mkdtempSync(path.join(parent, '.download-'));
  const run = (program: string, args: readonly string[]) =>
    spawnSync(program, args, { cwd: scratch, stdio: 'ignore', timeout: 300_000 }).status === 0;
  const download = () => run('apt-get', ['-qq', 'download', 'prometheus']);
  try {
    // A fresh machine has no lists yet; only root can fetch them.
    if (!download() && !(run('apt-get', ['-qq', 'update']) && download())) return false;
    const [file] = fs.readdirSync(scratch).filter((name) => name.endsWith('.deb'));
    if (!file || !run('dpkg-deb', ['-x', file, 'unpacked'])) return false;
    // Servers of the lab run as another user, who may enter it.
    fs.chmodSync(path.join(scratch, 'unpacked'), 0o755);
    if (!fs.existsSync(folder)) fs.renameSync(path.join(scratch, 'unpacked'), folder);
    return true;
  } finally {
    fs.rmSync(scratch, { recursive: true, force: true });
  }
}
