import * as fs from 'node:fs/promises';
import type { ProgramSpec } from './program';

/** How full the file systems are that the stores of a site run on: a store with several servers has the fullest of theirs. */
export async function disksOf(
  specs: readonly ProgramSpec[],
  site: string,
): Promise<{ readonly store: string; readonly freeBytes: number; readonly totalBytes: number }[]> {
  const servers = specs.filter((each) => each.site === site && each.kind === 'store' && each.store !== undefined);
  const found = await Promise.all(
    servers.map(async ({ store = '', cwd, postgresql }) => {
      const { bavail, blocks, bsize } = await fs.statfs(postgresql?.dataDir ?? cwd);
      return { store, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
    }),
  );
  const fullestFirst = found.toSorted((a, b) => a.freeBytes - b.freeBytes);
  return fullestFirst.filter(({ store }, index) => fullestFirst.findIndex((each) => each.store === store) === index);
}
