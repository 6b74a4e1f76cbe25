import type { Dirent } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { CallContext } from '../../../core/call';
import { absent } from '../../filesystem/absent';
import type { Account } from '../restore-host';
import type { ManifestFile } from './backup-manifest';
import { memberChecksum } from './member-checksum';
import type { UnpackTarget } from './unpack';

/** One reads while the checksum of another is computed; more only compete for the disk. */
const PARALLEL_READS = 4;
const READ_BYTES = 2 ** 20;

/**
 * Files of relations. Others are small and are always written again: pg_control, pg_filenode.map and their like end with
 * their own CRC-32C, so that the manifest's CRC-32C of any two of them is the same.
 */
const RELATION = /^(base\/\d+|global|pg_tblspc\/\d+\/[^/]+\/\d+)\/\d+(_[a-z]+)?(\.\d+)?$/;
const PAGE_BYTES = 8_192;

export interface KeptFiles {
  /** As the manifest names them. */
  readonly names: ReadonlySet<string>;
  readonly keptBytes: number;
  readonly removedFiles: number;
}

/** A file as a backup holds all of it. */
export interface WholeFile extends ManifestFile {
  /** Where that backup ended: a page of a later position was written since, whatever the 32 bits of a CRC-32C say. */
  readonly stop: bigint;
}

/**
 * Goes through what lies where a backup is to be restored: files of relations whose size and checksum are the manifest's stay,
 * all others go, and so do links, which may lead out of the place (what they lead to is not touched).
 */
export async function keepRightFiles(
  target: UnpackTarget,
  files: ReadonlyMap<string, WholeFile>,
  ctx: CallContext,
): Promise<KeptFiles> {
  const names = new Set<string>();
  let [keptBytes, removedFiles, comparedBytes] = [0, 0, 0];
  const roots = [{ folder: target.data, prefix: '' }];
  for (const oid of (await fs.readdir(target.tablespaces).catch(absent)) ?? []) {
    roots.push({ folder: path.join(target.tablespaces, oid), prefix: `pg_tblspc/${oid}/` });
  }
  const found: { readonly file: string; readonly name: string }[] = [];
  for (const { folder, prefix } of roots) {
    for await (const entry of entriesBelow(folder)) {
      const file = path.join(entry.parentPath, entry.name);
      if (entry.isFile()) found.push({ file, name: prefix + path.relative(folder, file) });
      else await fs.rm(file, { force: true });
    }
  }
  const worker = async () => {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    for (let next = found.pop(); next; next = found.pop()) {
      ctx.signal.throwIfAborted();
      const expected = RELATION.test(next.name) ? files.get(next.name) : undefined;
      if (expected && (await isRight(next.file, { expected, buffer, owner: target.owner }, ctx))) {
        names.add(next.name);
        keptBytes += expected.sizeBytes;
      } else {
        await fs.rm(next.file, { force: true });
        removedFiles += 1;
      }
      comparedBytes += expected?.sizeBytes ?? 0;
      ctx.progress({ phase: 'comparing with what is there', doneBytes: comparedBytes, doneItems: names.size });
    }
  };
  const results = await Promise.allSettled(Array.from({ length: PARALLEL_READS }, worker));
  const failed = results.find((each) => each.status === 'rejected');
  if (failed) throw failed.reason;
  for (const { folder } of roots) await removeEmpty(folder, target.owner);
  return { names, keptBytes, removedFiles };
}

/** Files and links, never through a link. */
async function* entriesBelow(folder: string): AsyncGenerator<Dirent> {
  for (const entry of (await fs.readdir(folder, { withFileTypes: true }).catch(absent)) ?? []) {
    if (entry.isDirectory()) yield* entriesBelow(path.join(folder, entry.name));
    else yield entry;
  }
}

/** The same file also gets the owner and mode that a restored one has. */
async function isRight(
  file: string,
  { expected, buffer, owner }: { expected: WholeFile; buffer: Buffer; owner: Account },
  ctx: CallContext,
): Promise<boolean> {
  if (expected.algorithm === 'NONE') return false;
  const handle = await fs.open(file, 'r');
  try {
    const { size, nlink } = await handle.stat();
    // Another name leads to the same bytes: written to by its own server, they would change here.
    if (size !== expected.sizeBytes || nlink > 1) return false;
    const checksum = memberChecksum(expected.algorithm);
    for (let at = 0; at < size;) {
      ctx.signal.throwIfAborted();
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
      if (bytesRead === 0 || writtenAfter(expected.stop, buffer.subarray(0, bytesRead))) return false;
      checksum.update(buffer.subarray(0, bytesRead));
      at += bytesRead;
    }
    if (checksum.hex() !== expected.checksum) return false;
    await handle.chmod(0o600);
    if (process.getuid?.() === 0) await handle.chown(owner.uid, owner.gid);
    return true;
  } finally {
    await handle.close();
  }
}

/** Each page begins with the position of its last change (bufpage.h pd_lsn), its halves in the order of the machine. */
function writtenAfter(stop: bigint, pages: Buffer): boolean {
  const [high, low] = [Number(stop >> 32n), Number(stop & 0xffffffffn)];
  for (let at = 0; at + 8 <= pages.length; at += PAGE_BYTES) {
    const page = pages.readUInt32LE(at);
    if (page > high || (page === high && pages.readUInt32LE(at + 4) > low)) return true;
  }
  return false;
}

/** The directories that stay get the server's owner too; those of the backup that are gone are made again. */
async function removeEmpty(folder: string, owner: Account): Promise<boolean> {
  const entries = await fs.readdir(folder, { withFileTypes: true }).catch(absent);
  if (entries === null) return true;
  let isEmpty = true;
  for (const entry of entries) {
    const gone = entry.isDirectory() && (await removeEmpty(path.join(folder, entry.name), owner));
    isEmpty &&= gone;
  }
  if (isEmpty) await fs.rmdir(folder);
  else if (process.getuid?.() === 0) await fs.chown(folder, owner.uid, owner.gid);
  return isEmpty;
}
