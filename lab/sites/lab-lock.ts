import { failure } from '../../core/errors';
import * as fs from 'node:fs';
import { identify, isAlive, type ProcessIdentity } from '../servers/process-tree';

/**
 * Runs `work` while no other command works on the lab at `folder`; refuses at once when one does. A lock whose holder is gone
 * (interrupted, rebooted) is taken over.
 */
export async function withLabLock<T>(folder: string, work: () => Promise<T>): Promise<T> {
  const file = `${folder}.lock`;
  const me = identify(process.pid);
  for (;;) {
    const holder = take(file, me);
    if (holder === null) break;
    if (isAlive(holder))
      throw failure('LockHeld', `another command works on the lab at ${folder} (process ${holder.pid})`, {
        next: 'Wait until it has ended.',
      });
    fs.rmSync(file, { force: true });
  }
  try {
    return await work();
  } finally {
    fs.rmSync(file, { force: true });
  }
}

/** Null when the lock is ours, else who holds it. Written aside and linked, so that an empty lock is never seen. */
function take(file: string, me: ProcessIdentity | null): ProcessIdentity | null {
  const mine = `${file}.${process.pid}`;
  fs.writeFileSync(mine, JSON.stringify(me));
  try {
    fs.linkSync(mine, file);
    return null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return JSON.parse(fs.readFileSync(file, 'utf8')) as ProcessIdentity;
  } finally {
    fs.rmSync(mine, { force: true });
  }
}
