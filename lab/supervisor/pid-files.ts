import * as fs from 'node:fs';
import * as path from 'node:path';
import { identify, type ProcessIdentity } from '../servers/process-tree';

/** A pid file holds the process's start time too, so that a pid given to somebody else is never killed. */
export function recordPid(folder: string, name: string, identity: ProcessIdentity): void {
  fs.writeFileSync(path.join(folder, `${name}.pid`), JSON.stringify(identity));
}

export function forgetPid(folder: string, name: string): void {
  fs.rmSync(path.join(folder, `${name}.pid`), { force: true });
}

/** Every recorded process, whether it lives or not. */
export function leftovers(folder: string): { name: string; identity: ProcessIdentity }[] {
  if (!fs.existsSync(folder)) return [];
  const files = fs.readdirSync(folder).filter((file) => file.endsWith('.pid'));
  return files.flatMap((file) => {
    const text = fs.readFileSync(path.join(folder, file), 'utf8');
    // A file torn by a power cut is of a process that the cut ended.
    return text.endsWith('}')
      ? [{ name: path.basename(file, '.pid'), identity: JSON.parse(text) as ProcessIdentity }]
      : [];
  });
}

/** Who this supervisor is, for `down` after it was killed. */
export function recordSupervisor(folder: string): void {
  const identity = identify(process.pid);
  if (identity) recordPid(path.join(folder, 'pids'), 'supervisor', identity);
}
