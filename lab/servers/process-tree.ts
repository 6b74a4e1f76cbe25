import * as fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';

/** A process as the kernel knows it: a pid alone may have been given to another since. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/<pid>/stat (proc(5)). */
  readonly startTicks: string;
}

interface ProcessEntry extends ProcessIdentity {
  readonly parentPid: number;
  readonly state: string;
}

/** A killed process is reaped by its parent at once or never; the deadline catches one stuck in the kernel. */
const GONE_DEADLINE_MS = 10_000;

/** What runs under `pid` now; null when nothing does, or only a zombie whose work is over. */
export function identify(pid: number): ProcessIdentity | null {
  const entry = readEntry(pid);
  return entry === null || entry.state === 'Z' ? null : { pid, startTicks: entry.startTicks };
}

export function isAlive(identity: ProcessIdentity): boolean {
  return identify(identity.pid)?.startTicks === identity.startTicks;
}

/**
 * Kills `pid` and all its descendants with SIGKILL and resolves, with what was killed, when every one is gone.
 * PostgreSQL's backends are sessions of their own, so a process group does not reach them, and a backend that lost its
 * postmaster may still finish a commit: the parent is frozen first so that it forks no more while we list its children.
 */
export async function killTree(pid: number): Promise<ProcessIdentity[]> {
  if (identify(pid) === null) return [];
  signal(pid, 'SIGSTOP');
  const victims = descendants(pid);
  for (const victim of victims) if (isAlive(victim)) signal(victim.pid, 'SIGKILL');
  const deadline = Date.now() + GONE_DEADLINE_MS;
  while (victims.some(isAlive)) {
    if (Date.now() > deadline) {
      const left = victims.filter(isAlive).map((victim) => victim.pid);
      throw new Error(`processes ${left.join(', ')} are still alive ${GONE_DEADLINE_MS / 1000} s after SIGKILL`);
    }
    await delay(10);
  }
  return victims;
}

/** `pid` and every process below it, parents first. */
export function descendants(pid: number): ProcessIdentity[] {
  const children = new Map<number, ProcessEntry[]>();
  let first: ProcessEntry | null = null;
  for (const entry of allProcesses()) {
    if (entry.pid === pid) first = entry;
    const siblings = children.get(entry.parentPid);
    if (siblings) siblings.push(entry);
    else children.set(entry.parentPid, [entry]);
  }
  const found: ProcessEntry[] = first ? [first] : [];
  for (let next = 0; next < found.length; next += 1)
    found.push(...(children.get((found[next] as ProcessEntry).pid) ?? []));
  return found.map(({ pid: id, startTicks }) => ({ pid: id, startTicks }));
}

function allProcesses(): ProcessEntry[] {
  const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name));
  return pids.map((name) => readEntry(Number(name))).filter((entry) => entry !== null);
}

function readEntry(pid: number): ProcessEntry | null {
  let stat: string;
  try {
    stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch {
    return null; // it ended meanwhile
  }
  // The command's name is in brackets and may itself hold spaces and brackets.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return { pid, state: fields[0] as string, parentPid: Number(fields[1]), startTicks: fields[19] as string };
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error; // already gone is what we want
  }
}
