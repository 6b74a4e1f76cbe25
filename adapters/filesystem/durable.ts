import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { failure } from '../../core/errors';

/** Makes a rename, link or removal inside the directory survive a power cut. */
export async function syncDirectory(directory: string): Promise<void> {
  const handle = await fs.open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Creates missing directories and makes each new name durable in its parent. */
export async function makeDirectory(directory: string): Promise<void> {
  const firstCreated = await fs.mkdir(directory, { recursive: true, mode: 0o750 });
  if (firstCreated === undefined) return;
  for (let parent = path.dirname(directory); ; parent = path.dirname(parent)) {
    await syncDirectory(parent);
    if (parent === path.dirname(firstCreated) || parent === path.dirname(parent)) return;
  }
}

/** Replaces a small file atomically: after a crash it holds the old bytes or the new ones, never a part. */
export async function writeFileDurably(file: string, bytes: Uint8Array | string): Promise<void> {
  const temporary = `${file}.tmp`;
  await fs.writeFile(temporary, bytes, { flush: true, mode: 0o640 });
  await fs.rename(temporary, file);
  await syncDirectory(path.dirname(file));
}

/** The error to throw for a failed file operation: DiskFull and AccessDenied name the path, others stay as they are. */
export function diskFailure(error: unknown, file: string, action: string): unknown {
  const code = (error as NodeJS.ErrnoException | null)?.code;
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return failure('DiskFull', `${action} at ${file}: no space is left on its file system`, { cause: error });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return failure('AccessDenied', `${action} at ${file}: the operating system does not allow it (${code})`, {
      next: `Give the user that runs the worker the right to write ${file}.`,
      cause: error,
    });
  }
  return error;
}

/** Throws DiskFull when fewer than `neededBytes` are free where `directory` (which exists) lies. */
export async function requireFreeBytes(directory: string, neededBytes: number, action: string): Promise<void> {
  const { bavail, bsize } = await fs.statfs(directory);
  const freeBytes = bavail * bsize;
  if (freeBytes >= neededBytes) return;
  throw failure('DiskFull', `${action} at ${directory}: ${neededBytes} bytes are needed, ${freeBytes} are free`, {
    context: { directory, neededBytes, freeBytes },
  });
}
