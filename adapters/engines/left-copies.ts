import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { drillPlace, type LeftCopy } from '../../core/drill';
import { absent } from '../filesystem/absent';

/** `drill-ultramarket-1a2b3c4d-orders-db`, see `drillPlace` of core/drill.ts. */
const placeOf = (application: string) => new RegExp(`^${drillPlace(application, '([0-9a-f]{8})')}-(.+)$`);

/**
 * The copies that drills of the application left below these directories, with the processes that work in them, also where the directory is
 * gone: a server that was forgotten goes on in a removed folder.
 */
export async function leftCopies(application: string, directories: readonly string[]): Promise<LeftCopy[]> {
  const place = placeOf(application);
  const found: LeftCopy[] = [];
  for (const directory of new Set(directories)) {
    for (const name of (await fs.readdir(directory).catch(absent)) ?? []) {
      const [, drillId, store] = place.exec(name) ?? [];
      if (drillId !== undefined && store !== undefined)
        found.push({ store, drillId, what: path.join(directory, name) });
    }
  }
  return [...found, ...(await processesIn(place, [...new Set(directories)]))];
}

async function processesIn(place: RegExp, directories: readonly string[]): Promise<LeftCopy[]> {
  const pids = (await fs.readdir('/proc').catch(absent)) ?? []; // no such thing outside Linux, where nothing is restored
  const found = await Promise.all(
    pids.filter((name) => /^\d+$/.test(name)).map((pid) => copyOf(pid, place, directories)),
  );
  return found.filter((each) => each !== null);
}

/** By its command line and its working directory: Redis replaces the one, and another user's cannot be read everywhere. */
async function copyOf(pid: string, place: RegExp, directories: readonly string[]): Promise<LeftCopy | null> {
  const unreadable = () => '';
  const words = (await fs.readFile(`/proc/${pid}/cmdline`, 'utf8').catch(unreadable)).split('\0');
  const cwd = await fs.readlink(`/proc/${pid}/cwd`).catch(unreadable);
  for (const text of [...words, cwd]) {
    for (const directory of directories) {
      if (!text.startsWith(`${directory}${path.sep}`)) continue;
      const [, drillId] = place.exec(path.relative(directory, text).split(path.sep)[0] ?? '') ?? [];
      if (drillId !== undefined) return { store: null, drillId, what: `process ${pid} (${words[0] || text})` };
    }
  }
  return null;
}
