import type { FileHandle } from 'node:fs/promises';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { pipeline } from 'node:stream/promises';
import { pack, type Pack } from 'tar-stream';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { VolumeSink } from '../../../core/volumes';

/** How often the manifest may change under our hands; a rewrite ends once in minutes. */
const TRIES = 5;

interface OpenedFile {
  readonly name: string;
  readonly handle: FileHandle;
  readonly sizeBytes: number;
}

interface AppendOnlySet {
  readonly manifestName: string;
  readonly manifest: Buffer;
  readonly files: readonly OpenedFile[];
}

/**
 * Copies a multi-part append-only directory (Redis 7 and newer) into a volume that `tar -x` and `redis-server
 * --appendonly yes` restore without us. No setting of the server is changed, which the documented way does (rewrites off,
 * link, rewrites on) and leaves behind when it dies in between: every file that the manifest names is opened and its length
 * noted, then the manifest is read again. A rewrite takes effect by renaming the manifest, so an unchanged one means that
 * the opened files are a set that was whole; open files outlive their deletion, and bytes behind the noted length are left.
 */
export async function copyAppendOnly(
  directory: string,
  volumeName: string,
  sink: VolumeSink,
  ctx: CallContext,
): Promise<{ readonly files: number; readonly contentBytes: number }> {
  const set = await openSet(directory);
  try {
    await pipeline(packed(set, path.basename(directory), ctx), sink.volume(volumeName), { signal: ctx.signal });
    const contentBytes = set.files.reduce((sum, file) => sum + file.sizeBytes, set.manifest.length);
    return { files: set.files.length + 1, contentBytes };
  } finally {
    await closeAll(set.files);
  }
}

async function openSet(directory: string): Promise<AppendOnlySet> {
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const { manifestName, manifest } = await readManifest(directory);
    const files: OpenedFile[] = [];
    try {
      for (const name of namedFiles(manifest.toString('utf8'))) files.push(await openFile(directory, name));
      const again = await readManifest(directory);
      if (again.manifest.equals(manifest)) return { manifestName, manifest, files };
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') {
        await closeAll(files);
        throw error;
      }
    }
    await closeAll(files);
  }
  throw failure(
    'BackupIncomplete',
    `the append-only directory ${directory} was rewritten during each of ${TRIES} tries`,
  );
}

async function readManifest(directory: string): Promise<{ manifestName: string; manifest: Buffer }> {
  const manifestName = (await fs.readdir(directory)).find((name) => name.endsWith('.manifest'));
  if (manifestName === undefined) {
    throw failure(
      'NotFound',
      `${directory} holds no append-only manifest: is it the appenddirname of a Redis 7 or newer?`,
    );
  }
  return { manifestName, manifest: await fs.readFile(path.join(directory, manifestName)) };
}

/** `file <name> seq <n> type <b|i|h>` a line, base first; history files (h) are waiting to be deleted (aof.c). */
function namedFiles(manifest: string): string[] {
  return manifest
    .split('\n')
    .map((line) => /^file "?([^"\s/]+)"? seq \d+ type ([bi])/.exec(line)?.[1])
    .filter((name) => name !== undefined);
}

async function openFile(directory: string, name: string): Promise<OpenedFile> {
  const handle = await fs.open(path.join(directory, name), 'r');
  return { name, handle, sizeBytes: (await handle.stat()).size };
}

async function closeAll(files: readonly OpenedFile[]): Promise<void> {
  await Promise.all(files.map(({ handle }) => handle.close()));
}

function packed({ manifestName, manifest, files }: AppendOnlySet, folder: string, ctx: CallContext): Pack {
  const archive = pack();
  const write = async () => {
    for (const { name, handle, sizeBytes } of files) {
      const header = { name: `${folder}/${name}`, size: sizeBytes, mode: 0o640 };
      if (sizeBytes === 0) {
        archive.entry(header, Buffer.alloc(0)); // createReadStream cannot be asked for no bytes
      } else {
        const content = handle.createReadStream({ start: 0, end: sizeBytes - 1, autoClose: false });
        await pipeline(content, archive.entry(header));
      }
      ctx.progress({ phase: 'copying append-only file', note: name });
    }
    archive.entry({ name: `${folder}/${manifestName}`, mode: 0o640 }, manifest);
    archive.finalize();
  };
  write().catch((error: Error) => archive.destroy(error));
  return archive;
}
