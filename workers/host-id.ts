import { randomBytes } from 'node:crypto';
import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';

/**
 * The id of the disk that this worker's spool lies on, kept beside the spool: a worker that is replaced by another process
 * on the same disk takes up the same queue, and finds what its predecessor spooled.
 */
export function hostId(spoolDirectory: string, site: string): string {
  mkdirSync(spoolDirectory, { recursive: true });
  const file = join(spoolDirectory, `host-id-${site}`);
  const made = `${file}.${process.pid}`;
  writeFileSync(made, `${hostname()}-${randomBytes(4).toString('hex')}\n`, { flag: 'w' });
  try {
    // Of two workers that start at the same moment one creates it and both read it.
    linkSync(made, file);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    rmSync(made);
  }
  return readFileSync(file, 'utf8').trim();
}
