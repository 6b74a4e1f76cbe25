import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { failure } from '../../../core/errors';
import { absent } from '../../filesystem/absent';
import { RESTORE_MARKER } from '../restore-marker';

/** What a data directory that was taken over is called inside its place while it is moved. */
const TAKEN_OVER = 'data';

/** Of the cluster whose data directory this is (pg_control begins with it); null where there is none. */
export async function systemIdentifierOf(directory: string): Promise<string | null> {
  const handle = await fs.open(path.join(directory, 'global/pg_control'), 'r').catch(absent);
  if (!handle) return null;
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0);
    return bytesRead === 8 ? buffer.readBigUInt64LE().toString() : null;
  } finally {
    await handle.close();
  }
}

/**
 * Whether the directory is a stopped server's own data directory, of this very cluster, that a restore may take over. False
 * for an empty or missing one and for one that no server made; throws TargetNotEmpty for a server's that must not be touched.
 */
export async function isStoppedDataDirectory(directory: string, identity: string): Promise<boolean> {
  const found = await systemIdentifierOf(directory);
  if (found === null) return false;
  if (found !== identity) {
    throw failure('TargetNotEmpty', `${directory} holds the cluster ${found}, and the backup is of ${identity}`, {
      next: 'Name the data directory of the same cluster, or an empty place.',
    });
  }
  if ((await fs.lstat(path.join(directory, 'postmaster.pid')).catch(absent)) !== null) {
    throw failure('TargetNotEmpty', `${directory} has a postmaster.pid: its server runs, or was not ended in order`, {
      next: 'Stop the server. Only when it is certain that none runs, on any host, remove postmaster.pid.',
    });
  }
  return true;
}

/** Moves what a data directory holds one level down, where a place has it. Repeatable until nothing is left to move. */
export async function moveDown(directory: string): Promise<void> {
  const inside = path.join(directory, TAKEN_OVER);
  await fs.mkdir(inside, { recursive: true, mode: 0o700 });
  for (const name of await fs.readdir(directory)) {
    if (name === TAKEN_OVER || name.startsWith(RESTORE_MARKER)) continue;
    await fs.rename(path.join(directory, name), path.join(inside, name));
  }
}
