import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { CallContext } from '../../../core/call';
import type { Artifact } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import type { ManifestFile } from './backup-manifest';
import type { MemberFile, MemberFiles } from './chain-files';
import { ChangedBlocks, saysNothing, writeAll } from './changed-blocks';
import { ChunkReader } from './chunk-reader';
import { EarlyFlush } from './early-flush';
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

/** One backup of a chain and what of it is wanted. */
export interface ChainMember {
  readonly artifacts: readonly Artifact[];
  /** Those that should hold what is wanted; the others are read only where something was not in them. */
  readonly needed: readonly Artifact[];
  /** Everything that the server's own manifest names. */
  readonly files: ReadonlyMap<string, ManifestFile>;
  readonly wanted: MemberFiles;
  /** Only its directories are made: those of earlier backups may be gone. */
  readonly newest: boolean;
}

/**
 * Writes what is wanted of the volumes of one backup, several volumes at once, and checks the size and checksum of every file
 * that it writes against the server's own backup manifest. Throws BackupCorrupt naming the file or the volume; what was
 * written must then be thrown away. Nothing is synced to disk.
 */
export async function unpackBackup(
  member: ChainMember,
  source: VolumeSource,
  target: UnpackTarget,
  ctx: CallContext,
): Promise<void> {
  const unpacker = new Unpacker(member, target, ctx);
  await unpacker.volumes(member.needed, source);
  if (unpacker.missing().length > 0) {
    const others = member.artifacts.filter((each) => !member.needed.includes(each));
    await unpacker.volumes(others, source);
  }
  const missing = unpacker.missing();
  if (missing.length === 0) return;
  throw failure('BackupCorrupt', `the volumes lack ${missing.length} files of the backup, first ${missing[0]}`);
}

class Unpacker {
  private readonly backup: ChainMember;
  private readonly target: UnpackTarget;
  private readonly ctx: CallContext;
  private readonly directories = new Map<string, Promise<void>>();
  private readonly seen = new Set<string>();
  private doneBytes = 0;
  private reportedBytes = 0;
  private failed = false;

  constructor(backup: ChainMember, target: UnpackTarget, ctx: CallContext) {
    this.backup = backup;
    this.target = target;
    this.ctx = ctx;
  }

  async volumes(artifacts: readonly Artifact[], source: VolumeSource): Promise<void> {
    const waiting = [...artifacts];
    const worker = async () => {
      for (let artifact = waiting.shift(); artifact; artifact = waiting.shift()) await this.volume(artifact, source);
    };
    const results = await Promise.allSettled(Array.from({ length: PARALLEL_VOLUMES }, worker));
    const failed = results.find((each) => each.status === 'rejected');
    if (failed) throw failed.reason;
  }

  /** What was wanted and did not come. */
  missing(): string[] {
    return [...this.backup.wanted.keys()].filter((name) => !this.seen.has(name));
  }

  private async volume(artifact: Artifact, source: VolumeSource): Promise<void> {
    if (this.failed) return;
    const oid = /^(\d+)-vol-\d+\.tar$/.exec(artifact.name)?.[1];
    const root = oid ? path.join(this.target.tablespaces, oid) : this.target.data;
    const prefix = oid ? `pg_tblspc/${oid}/` : '';
    const reader = new ChunkReader(source.lend?.(artifact) ?? (await source.open(artifact)), this.ctx.signal);
    try {
      if (this.backup.newest) await this.directory(root);
      for (;;) {
        const block = await reader.exactly(TAR_BLOCK_BYTES);
        if (block === null) throw failure('BackupCorrupt', `${artifact.key}: the archive is cut off`);
        const member = readTarHeader(block, artifact.key);
        if (member === null) break;
        await this.member(member, root, prefix, reader, artifact.key);
        if (this.failed) return;
      }
      // To the end: only then has the source found the digest right.
      while ((await reader.some(PROGRESS_BYTES)) !== null);
    } catch (error) {
      this.failed = true;
      throw error;
    } finally {
      await reader.close();
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
    if (name.startsWith('/') || name.split('/').includes('..')) {
      throw failure('BackupCorrupt', `${key}: the name "${member.name}" leads out of the restore directory`);
    }
    if (member.type === 'link') {
      // The server is asked for a tablespace map instead of links: there are none in what we wrote.
      throw failure('BackupCorrupt', `${key}: unexpected link "${member.name}" to "${member.linkTarget}"`);
    }
    if (member.type === 'directory') {
      if (this.backup.newest) await this.directory(path.join(root, name));
      return;
    }
    const inManifest = `${prefix}${name}`;
    const expected = this.backup.files.get(inManifest);
    if (!expected) throw failure('BackupCorrupt', `${key}: ${inManifest} is not in the backup manifest`);
    const wanted = this.backup.wanted.get(inManifest);
    const padding = paddedBytes(member.sizeBytes) - member.sizeBytes;
    if (wanted && !(wanted.kind === 'blocks' && saysNothing(member.sizeBytes, wanted.last)))
      await this.file(member, { wanted, inManifest, expected, prefix, root }, reader, key);
    else if (!(await reader.skip(member.sizeBytes))) throw cutOff(key, inManifest);
    if (padding > 0 && !(await reader.skip(padding))) throw cutOff(key, inManifest);
    this.seen.add(inManifest);
  }

  private async file(
    member: TarMember,
    of: { wanted: MemberFile; inManifest: string; expected: ManifestFile; prefix: string; root: string },
    reader: ChunkReader,
    key: string,
  ): Promise<void> {
    const file = path.join(of.root, of.wanted.name.slice(of.prefix.length));
    const where = `${key}: ${of.inManifest}`;
    await this.directory(path.dirname(file));
    const checksum = memberChecksum(of.expected.algorithm);
    const isWhole = of.wanted.kind === 'whole';
    const handle = await fs.open(file, isWhole ? 'wx' : 'r+', 0o600);
    try {
      const flush = new EarlyFlush(handle);
      const blocks = isWhole ? null : new ChangedBlocks(handle, { last: of.wanted.last, where });
      for (let done = 0; done < member.sizeBytes;) {
        const chunk = await reader.some(member.sizeBytes - done);
        if (chunk === null) throw cutOff(key, of.inManifest);
        const writing = blocks ? blocks.write(chunk) : writeAll(handle, chunk, done);
        checksum.update(chunk); // while it is being written
        await writing;
        done += chunk.length;
        this.count(chunk.length);
        await flush.wrote(chunk.length);
      }
      await flush.settled();
      blocks?.end();
      const { uid, gid } = this.target.owner;
      if (isWhole && process.getuid?.() === 0) await handle.chown(uid, gid);
    } finally {
      await handle.close();
    }
    if (member.sizeBytes !== of.expected.sizeBytes || checksum.hex() !== of.expected.checksum) {
      throw failure('BackupCorrupt', `${where} differs from its checksum in the backup manifest`);
    }
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

function cutOff(key: string, name: string): Error {
  return failure('BackupCorrupt', `${key}: the archive is cut off in ${name}`);
}
