import * as fs from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { descendants } from '../lab/servers/process-tree';

/** Short beside the seconds that a child of a backup lives. */
const SAMPLE_MILLISECONDS = 100;

export interface PeakMemory {
  /** Ends the watch. The peak of all processes together, in bytes. */
  stop(): Promise<number>;
}

/**
 * Watches the resident memory of a process and of all it starts. The process's own peak is the kernel's (VmHWM, which no
 * sampling misses); that of the whole tree is sampled. Pages that two programs share count twice: never too little.
 */
export function watchMemory(pid: number): PeakMemory {
  const ending = new AbortController();
  let peakBytes = 0;
  const look = () => {
    const programs = descendants(pid).filter((each) => each.pid === pid || !isForkOf(pid, each.pid));
    const tree = programs.reduce((sum, each) => sum + statusBytes(each.pid, 'VmRSS'), 0);
    peakBytes = Math.max(peakBytes, tree, statusBytes(pid, 'VmHWM'));
  };
  const watching = (async () => {
    while (!ending.signal.aborted) {
      look();
      await delay(SAMPLE_MILLISECONDS, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  })();
  return {
    async stop() {
      ending.abort();
      await watching;
      look();
      if (statusBytes(pid, 'VmRSS') === 0) throw new Error(`process ${pid} ended while its memory was watched`);
      return peakBytes;
    },
  };
}

/**
 * A child between fork and exec is the parent itself, page by page: it takes no memory, and would count as much as the
 * parent does. Which of the two it is, its command line tells.
 */
function isForkOf(pid: number, child: number): boolean {
  const line = (id: number) => fs.readFileSync(`/proc/${id}/cmdline`, 'latin1');
  try {
    return line(child) === line(pid);
  } catch (error) {
    if (['ENOENT', 'ESRCH'].includes((error as NodeJS.ErrnoException).code ?? '')) return true; // gone: no memory either
    throw error;
  }
}

/** A field of /proc/<pid>/status in bytes; 0 for a process that is gone. */
function statusBytes(pid: number, field: 'VmRSS' | 'VmHWM'): number {
  try {
    const line = new RegExp(`^${field}:\\s+(\\d+) kB$`, 'm').exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
    return Number(line?.[1] ?? 0) * 1_024;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT' || (error as NodeJS.ErrnoException).code === 'ESRCH')
      return 0;
    throw error;
  }
}
