import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { absent } from './absent';

/** Free (to ordinary users) and total bytes where a directory lies, or will lie: it need not be there yet. */
export async function freeSpace(directory: string): Promise<{ freeBytes: number; totalBytes: number }> {
  const found = await fs.statfs(directory).catch(absent);
  if (found === null) return freeSpace(path.dirname(directory));
  return { freeBytes: found.bavail * found.bsize, totalBytes: found.blocks * found.bsize };
}
