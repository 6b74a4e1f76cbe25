import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { Readable } from 'node:stream';
import type { CallContext } from '../../../core/call';
import type { Artifact } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import type { ManifestFile } from './backup-manifest';
import { memberChecksum } from './member-checksum';
import type { Account } from '../restore-host';
import { paddedBytes, readTarHeader, TAR_BLOCK_BYTES, type TarMember } from './tar-header';

/** Each volume is decompressed and written on its own: four keep two to four cores and a disk busy. */
const PARALLEL_VOLUMES = 4;
const PROGRESS_BYTES = 32 * 1024 * 1024;

export interface UnpackTarget {
  /** Where the base directory goes. */
  readonly data: string;
  /** Where tablespaces go, each into a folder named by its OID. */
  readonly tablespaces: string;
  readonly owner: Account;
}

/**
 * Writes the volumes of one backup, several at once, and checks every file's size and checksum against the server's own
 * backup manifest while it is written. Throws BackupCorrupt naming the file; what was written must then be thrown away.
 */
export async function unpackBackup(
  artifacts: readonly Artifact[],
  files: ReadonlyMap<string, ManifestFile>,
  source: VolumeSource,
  target: UnpackTarget,
  ctx: CallContext,
): Promise<void> {
  const unpacker = new Unpacker(files, target, ctx);
  const waiting = [...artifacts];
  const worker = async () => {
    for (let artifact = waiting.shift(); artifact; artifact = waiting.shift()) await unpacker.volume(artifact, source);
  };
  const results = await Promise.allSettled(Array.from({ length: PARALLEL_VOLUMES }, worker));
  const failed = results.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
  unpacker.complete();
}

class Unpacker {
  private readonly files: ReadonlyMap<string, ManifestFile>;
  private readonly target: UnpackTarget;
  private readonly ctx: CallContext;
  private readonly directories = new Map<string, Promise<void>>();
  private readonly seen = new Set<string>();
  private doneBytes = 0;
  private reportedBytes = 0;
  private failed = false;

  constructor(files: ReadonlyMap<string, ManifestFile>, target: UnpackTarget, ctx: CallContext) {
    this.files = files;
    this.target = target;
    this.ctx = ctx;
  }

  async volume(artifact: Artifact, source: VolumeSource): Promise<void> {
    if (this.failed) return;
    const oid = /^(\d+)-vol-\d+\.tar$/.exec(artifact.name)?.[1];
    const root = oid ? path.join(this.target.tablespaces, oid) : this.target.data;
    const prefix = oid ? `pg_tblspc/${oid}/` : '';
    const stream = await source.open(artifact);
    const reader = new ChunkReader(stream);
    try {
      await this.directory(root);
      for (;;) {
        this.ctx.signal.throwIfAborted();
        const block = await reader.exactly(TAR_BLOCK_BYTES);
        if (block === null) throw failure('BackupCorrupt', `${artifact.key}: the archive is cut off`);
        const member = readTarHeader(block, artifact.key);
        if (member === null) break;
        await this.member(member, root, prefix, reader, artifact.key);
      }
      // To the end: only then has the source found both digests right.
      while ((await reader.some(PROGRESS_BYTES)) !== null);
    } catch (error) {
      this.failed = true;
      throw error;
    } finally {
      stream.destroy();
    }
  }

  complete(): void {
    const missing = [...this.files.keys()].filter((name) => !this.seen.has(name));
    if (missing.length > 0) {
      throw failure('BackupCorrupt', `the volumes lack ${missing.length} files of the backup, first ${missing[0]}`);
    }
  }

  private async member(
    member: TarMember,
    root: string,
    prefix: string,
    reader: ChunkReader,
    key: string,
  ): Promise<void> {
    const name = member.name.replace(/^\.\//, '').replace(/\/$/, '');
    const file = path.join(root, name);
    if (name.startsWith('/') || name.split('/').includes('..')) {
      throw failure('BackupCorrupt', `${key}: the name "${member.name}" leads out of the restore directory`);
    }
    if (member.type === 'link') {
      // The server is asked for a tablespace map instead of links: there are none in what we wrote.
      throw failure('BackupCorrupt', `${key}: unexpected link "${member.name}" to "${member.linkTarget}"`);
    }
    if (member.type === 'directory') return this.directory(file);
    await this.directory(path.dirname(file));
    await this.file(member, file, `${prefix}${name}`, reader, key);
  }

  private async file(member: TarMember, file: string, name: string, reader: ChunkReader, key: string): Promise<void> {
    const expected = this.files.get(name);
    if (!expected) throw failure('BackupCorrupt', `${key}: ${name} is not in the backup manifest`);
    const checksum = memberChecksum(expected.algorithm);
    const handle = await fs.open(file, 'wx', 0o600);
    try {
      for (let left = member.sizeBytes; left > 0;) {
        const chunk = await reader.some(left);
        if (chunk === null) throw failure('BackupCorrupt', `${key}: the archive is cut off in ${name}`);
        checksum.update(chunk);
        await writeAll(handle, chunk);
        left -= chunk.length;
        this.count(chunk.length);
      }
      const { uid, gid } = this.target.owner;
      if (process.getuid?.() === 0) await handle.chown(uid, gid);
    } finally {
      await handle.close();
    }
    const padding = paddedBytes(member.sizeBytes) - member.sizeBytes;
    if (padding > 0) await reader.exactly(padding);
    if (member.sizeBytes !== expected.sizeBytes || checksum.hex() !== expected.checksum) {
      throw failure('BackupCorrupt', `${key}: ${name} differs from its checksum in the backup manifest`);
    }
    this.seen.add(name);
  }

  /** Makes a directory and those above it, once, owned by the server's user. */
  private directory(folder: string): Promise<void> {
    const known = this.directories.get(folder);
    if (known) return known;
    const made = (async () => {
      const parent = path.dirname(folder);
      const top = [this.target.data, this.target.tablespaces].some((each) => folder === each || parent === folder);
      if (!top) await this.directory(parent);
      await makeDirectory(folder, this.target.owner);
    })();
    this.directories.set(folder, made);
    return made;
  }

  private count(bytes: number): void {
    this.doneBytes += bytes;
    if (this.doneBytes - this.reportedBytes < PROGRESS_BYTES) return;
    this.reportedBytes = this.doneBytes;
    this.ctx.progress({ phase: 'unpacking base backup', doneBytes: this.doneBytes, doneItems: this.seen.size });
  }
}

/** A directory that only the server's user may enter. An existing one is fine. */
export async function makeDirectory(folder: string, owner: Account): Promise<void> {
  await fs.mkdir(folder, { recursive: true, mode: 0o700 });
  if (process.getuid?.() === 0) await fs.chown(folder, owner.uid, owner.gid);
}

async function writeAll(handle: fs.FileHandle, chunk: Buffer): Promise<void> {
  for (let at = 0; at < chunk.length;) at += (await handle.write(chunk, at)).bytesWritten;
}

/** Takes bytes from a stream as they are asked for; at most one chunk of the stream is held. */
class ChunkReader {
  private readonly chunks: AsyncIterator<Buffer>;
  private rest: Buffer = Buffer.alloc(0);

  constructor(stream: Readable) {
    this.chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  }

  /** At least one and at most `limit` bytes; null at the end. */
  async some(limit: number): Promise<Buffer | null> {
    while (this.rest.length === 0) {
      const next = await this.chunks.next();
      if (next.done) return null;
      this.rest = next.value;
    }
    const taken = this.rest.subarray(0, limit);
    this.rest = this.rest.subarray(taken.length);
    return taken;
  }

  /** Null when the stream ends before; for headers and padding, which are small. */
  async exactly(length: number): Promise<Buffer | null> {
    const parts: Buffer[] = [];
    for (let left = length; left > 0;) {
      const part = await this.some(left);
      if (part === null) return null;
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }
}
