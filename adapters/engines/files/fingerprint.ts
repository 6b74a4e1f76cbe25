import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { Fingerprint } from '../../../core/recovery';
import { excludeMatcher } from './exclude-patterns';
import type { FilesSettings } from './settings';
import { nameOf, printable, type TreeEntry, walkTree } from './tree-walk';

const FILES_AT_ONCE = 4;
const WHOLE_FILE_BYTES = 256n * 1024n;

/**
 * Each root by content: path, type, mode, owner, size, time of change in nanoseconds, link target and SHA-256 of every entry,
 * in an order of nobody's. `base` is where the roots are: empty for the live ones, the place for restored ones. Patterns
 * are matched against the original paths in both. Extended attributes are not in it: Node cannot read them.
 */
export async function fingerprintTrees(
  roots: readonly string[],
  base: string,
  settings: FilesSettings,
  ctx: CallContext,
): Promise<Fingerprint> {
  const items: Fingerprint['items'][number][] = [];
  for (const root of roots) items.push({ name: root, ...(await fingerprintTree(root, base, settings, ctx)) });
  return { algorithm: 'files-1', items };
}

async function fingerprintTree(root: string, base: string, settings: FilesSettings, ctx: CallContext) {
  let [count, sum] = [0, 0n];
  const add = async (entry: TreeEntry) => {
    const digest = await entryDigest(entry, ctx);
    if (digest === null) return;
    sum = (sum + BigInt(`0x${digest}`)) & ((1n << 256n) - 1n);
    ctx.progress({ phase: 'reading files', doneItems: ++count });
  };
  const running = new Set<Promise<void>>();
  const walked = walkTree(`${base}${root}`, nameOf(root), {
    excluded: excludeMatcher(settings.excludes),
    oneFileSystem: settings.oneFileSystem,
    onProblem: (problem) => {
      throw failure('AccessDenied', `fingerprint of ${root}: ${problem}`);
    },
    signal: ctx.signal,
  });
  try {
    for await (const entry of walked) {
      // What a backup leaves out, the comparison does too.
      if (entry.type === 'socket' || (entry.type === 'device' && !settings.devices)) continue;
      while (running.size >= FILES_AT_ONCE) await Promise.race(running);
      const work = add(entry).finally(() => running.delete(work));
      running.add(work);
    }
    await Promise.all(running);
  } finally {
    await Promise.allSettled(running);
  }
  return { count, digest: sum.toString(16).padStart(64, '0') };
}

async function contentDigest(file: Buffer, sizeBytes: bigint, signal: AbortSignal): Promise<Buffer> {
  const content = createHash('sha256');
  // A stream costs more than the reading of a small file, and most files are small.
  if (sizeBytes <= WHOLE_FILE_BYTES) return content.update(await fs.readFile(file, { signal })).digest();
  await pipeline(createReadStream(file, { highWaterMark: 256 * 1024 }), content, { signal });
  return content.digest();
}

/** Null for a file that vanished meanwhile. */
async function entryDigest({ relative, absolute, type, stat }: TreeEntry, ctx: CallContext): Promise<string | null> {
  const hash = createHash('sha256').update(`${relative.length}:`).update(relative);
  hash.update(`\0${type}\0${stat.mode}\0${stat.uid}:${stat.gid}\0${stat.mtimeNs}\0`);
  try {
    if (type === 'link') hash.update(await fs.readlink(absolute, 'buffer'));
    if (type === 'device') hash.update(`${stat.rdev}`);
    if (type === 'file') {
      hash.update(`${stat.size}\0`).update(await contentDigest(absolute, stat.size, ctx.signal));
    }
    return hash.digest('hex');
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT') return null;
    if (code === 'EACCES') throw failure('AccessDenied', `${printable(absolute)} cannot be read`, { cause: error });
    throw error;
  }
}
