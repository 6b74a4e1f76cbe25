import * as fs from 'node:fs/promises';
import { absent } from '../filesystem/absent';

/** A process by its pid and its start, because the pid may be given to another. */
export interface ProcessMark {
  readonly pid: number;
  /** Clock ticks after boot, field 22 of /proc/<pid>/stat (proc(5)). */
  readonly startTicks: string;
}

/** What a process has started and what lives now; backends of PostgreSQL are sessions of their own, so that no group has them. */
export async function childrenOf(parent: number): Promise<ProcessMark[]> {
  const pids = (await fs.readdir('/proc')).filter((name) => /^\d+$/.test(name)).map(Number);
  const found = await Promise.all(pids.map(async (pid) => ({ pid, fields: await fieldsOf(pid) })));
  return found.flatMap(({ pid, fields }) =>
    fields && Number(fields[1]) === parent ? [{ pid, startTicks: fields[19] ?? '' }] : [],
  );
}

/** False for a zombie, whose work is over. */
export async function isRunning({ pid, startTicks }: ProcessMark): Promise<boolean> {
  const fields = await fieldsOf(pid);
  return fields !== null && fields[0] !== 'Z' && fields[19] === startTicks;
}

/** From the third on: the name before them is in brackets and may itself hold spaces and brackets. */
async function fieldsOf(pid: number): Promise<string[] | null> {
  const stat = await fs.readFile(`/proc/${pid}/stat`, 'utf8').catch(absent);
  return stat === null ? null : stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}
