import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { descendants } from '../lab/servers/process-tree';

/** What a figure was measured on; without it the figure means little. */
export interface MachineFacts {
  readonly cores: number;
  readonly processor: string;
  readonly memoryGib: number;
  readonly kernel: string;
  readonly node: string;
}

export function machineFacts(): MachineFacts {
  const cpus = os.cpus();
  return {
    cores: cpus.length,
    processor: cpus[0]?.model ?? 'unknown',
    memoryGib: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release()}`,
    node: process.version,
  };
}

/** What ran beside the benchmark at one moment. */
export interface Company {
  readonly loadAverage: number;
  /** Programs of others with the share of one core each took, largest first. */
  readonly busiest: readonly { readonly program: string; readonly cores: number }[];
}

/** Long enough for a share of a core to be told from chance. */
const SAMPLE_MILLISECONDS = 1_000;
/** Clock ticks a second (sysconf(_SC_CLK_TCK)); 100 on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;
/** Above this share of the machine taken by others a figure is not to be relied on. */
const QUIET_SHARE = 0.1;

/** Looks for a second at who uses the processors, this process and its children left out. */
export async function company(): Promise<Company> {
  const before = ticksByProcess();
  await delay(SAMPLE_MILLISECONDS);
  const own = new Set(descendants(process.pid).map(({ pid }) => pid));
  const used = new Map<string, number>();
  for (const [pid, { program, ticks }] of ticksByProcess()) {
    const cores = (ticks - (before.get(pid)?.ticks ?? ticks)) / TICKS_PER_SECOND / (SAMPLE_MILLISECONDS / 1_000);
    if (cores > 0 && !own.has(pid)) used.set(program, (used.get(program) ?? 0) + cores);
  }
  const busiest = [...used]
    .map(([program, cores]) => ({ program, cores: Number(cores.toFixed(2)) }))
    .toSorted((a, b) => b.cores - a.cores);
  return { loadAverage: os.loadavg()[0] ?? 0, busiest: busiest.slice(0, 5) };
}

export function isQuiet({ busiest }: Company): boolean {
  return busiest.reduce((sum, { cores }) => sum + cores, 0) <= QUIET_SHARE * os.cpus().length;
}

function ticksByProcess(): Map<number, { readonly program: string; readonly ticks: number }> {
  const found = new Map<number, { program: string; ticks: number }>();
  for (const name of fs.readdirSync('/proc').filter((each) => /^\d+$/.test(each))) {
    try {
      const stat = fs.readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      found.set(Number(name), { program: programOf(name), ticks: Number(fields[11]) + Number(fields[12]) });
    } catch {
      // It ended between the listing and the reading: it is no company any more.
    }
  }
  return found;
}

/** What a person recognises: Node and Python run something that says more than their own names. */
function programOf(pid: string): string {
  const [program = '', ...args] = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').filter(Boolean);
  const name = path.basename(program);
  const script = args.find((each) => !each.startsWith('-'));
  return /^(node|python[\d.]*)$/.test(name) && script
    ? `${name} ${script.split('/').slice(-2).join('/')}`
    : name || 'kernel';
}
