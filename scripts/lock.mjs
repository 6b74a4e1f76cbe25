// A lock between processes: a directory (its creation is atomic everywhere) that holds its owner's pid.
import * as fs from 'node:fs';
import * as path from 'node:path';

/** Longer than any install on a slow network; a holder that still lives after it is named, not robbed. */
const DEADLINE_MS = 20 * 60_000;

/** Runs `work` while holding the lock at `folder`; waits for a living holder and takes over from a dead one. */
export function withLock(folder, say, work) {
  const deadline = Date.now() + DEADLINE_MS;
  let told = false;
  while (!acquire(folder)) {
    const holder = readHolder(folder);
    if (Date.now() > deadline)
      throw new Error(`${folder} is held by process ${holder} for 20 minutes; end it or remove the folder`);
    if (!told) say(`waiting for process ${holder}, which installs the same`);
    told = true;
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  try {
    return work();
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

function acquire(folder) {
  // The directory is prepared aside and renamed into place, so that a lock without a pid is never seen.
  const mine = `${folder}.${process.pid}`;
  fs.rmSync(mine, { recursive: true, force: true });
  fs.mkdirSync(mine, { recursive: true });
  fs.writeFileSync(path.join(mine, 'pid'), `${process.pid} ${startTime(process.pid)}`);
  try {
    fs.renameSync(mine, folder); // fails when a non-empty directory is there
    return true;
  } catch {
    fs.rmSync(mine, { recursive: true, force: true });
  }
  const holder = readHolder(folder);
  if (holder !== null && !alive(folder)) {
    // Moved aside under a name of the dead holder: of several waiters only one rename succeeds.
    const stale = `${folder}.stale-${holder}`;
    try {
      fs.renameSync(folder, stale);
      fs.rmSync(stale, { recursive: true, force: true });
    } catch {
      // another waiter was first: the loop tries again
    }
  }
  return false;
}

function readHolder(folder) {
  try {
    return fs.readFileSync(path.join(folder, 'pid'), 'utf8').split(' ')[0];
  } catch {
    return null; // released between the two calls
  }
}

function alive(folder) {
  try {
    const [pid, started] = fs.readFileSync(path.join(folder, 'pid'), 'utf8').split(' ');
    process.kill(Number(pid), 0);
    return startTime(pid) === started; // a pid is reused after a reboot; its start time is not
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function startTime(pid) {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return ''; // no /proc on this system: the pid alone must do
  }
}
