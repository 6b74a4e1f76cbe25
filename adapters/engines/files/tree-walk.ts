import type { BigIntStats, Dir } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';

export type EntryType = 'file' | 'directory' | 'link' | 'fifo' | 'socket' | 'device';

/** One name of a tree. Paths are bytes: a name need not be valid in any encoding. */
export interface TreeEntry {
  /** Below the root, without a slash before it; empty for the root itself. */
  readonly relative: Buffer;
  readonly absolute: Buffer;
  readonly type: EntryType;
  readonly stat: BigIntStats;
}

export interface WalkOptions {
  readonly excluded: (path: string) => boolean;
  readonly oneFileSystem: boolean;
  /** What could not be read, and why; it is missing in what comes out. */
  readonly onProblem: (problem: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Every entry of a tree, a directory before what is in it, in the order in which the file system lists them. Holds one
 * open directory a level and nothing else. What vanishes while we walk was deleted by its owner: it is left out silently.
 */
export async function* walkTree(root: string, logicalName: string, options: WalkOptions): AsyncGenerator<TreeEntry> {
  const absolute = Buffer.from(root);
  const stat = await fs.lstat(absolute, { bigint: true });
  const entry: TreeEntry = { relative: Buffer.alloc(0), absolute, type: typeOf(stat), stat };
  yield entry;
  if (entry.type === 'directory') yield* below(entry, Buffer.from(logicalName).toString('latin1'), options);
}

async function* below(directory: TreeEntry, name: string, options: WalkOptions): AsyncGenerator<TreeEntry> {
  const opened = await openDirectory(directory.absolute, options);
  if (!opened) return;
  // The iterator closes the directory, also when the walk is abandoned.
  for await (const each of opened as unknown as AsyncIterable<{ name: Buffer }>) {
    options.signal.throwIfAborted();
    const logicalPath = `${name}/${each.name.toString('latin1')}`;
    if (options.excluded(logicalPath)) continue;
    const absolute = Buffer.concat([directory.absolute, SLASH, each.name]);
    const stat = await statOf(absolute, options);
    if (!stat) continue;
    const relative =
      directory.relative.length === 0 ? each.name : Buffer.concat([directory.relative, SLASH, each.name]);
    const entry: TreeEntry = { relative, absolute, type: typeOf(stat), stat };
    yield entry;
    if (entry.type !== 'directory') continue;
    if (options.oneFileSystem && stat.dev !== directory.stat.dev) continue;
    yield* below(entry, logicalPath, options);
  }
}

const SLASH = Buffer.from('/');

async function openDirectory(absolute: Buffer, options: WalkOptions): Promise<Dir | null> {
  try {
    // @types/node does not know that names can be had as bytes (fs.opendir, `encoding`).
    return await fs.opendir(absolute, { encoding: 'buffer' as unknown as BufferEncoding });
  } catch (error) {
    return missed(error, absolute, options);
  }
}

async function statOf(absolute: Buffer, options: WalkOptions): Promise<BigIntStats | null> {
  try {
    return await fs.lstat(absolute, { bigint: true });
  } catch (error) {
    return missed(error, absolute, options);
  }
}

function missed(error: unknown, absolute: Buffer, { onProblem }: WalkOptions): null {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ENOTDIR') return null;
  if (code !== 'EACCES' && code !== 'EPERM' && code !== 'EIO') throw error;
  onProblem(`${printable(absolute)} could not be read (${code}) and is not in the backup`);
  return null;
}

function typeOf(stat: BigIntStats): EntryType {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'directory';
  if (stat.isSymbolicLink()) return 'link';
  if (stat.isFIFO()) return 'fifo';
  return stat.isSocket() ? 'socket' : 'device';
}

/** For people: control characters and what is not UTF-8 are escaped, so that two names never look the same. */
export function printable(name: Buffer): string {
  const text = name.toString('utf8');
  if (Buffer.from(text).equals(name)) return JSON.stringify(text).slice(1, -1);
  const escaped = JSON.stringify(name.toString('latin1')).slice(1, -1);
  return escaped.replace(/[\x80-\xff]/g, (byte) => `\\x${byte.charCodeAt(0).toString(16)}`);
}

/** The directory that a root stands for, and null where there is none. A root that is a link is followed, once, here. */
export async function resolveRoot(root: string): Promise<string | null> {
  try {
    const real = await fs.realpath(root);
    return (await fs.stat(real)).isDirectory() ? real : null;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw error;
  }
}

export const nameOf = (root: string): string => path.basename(root);

/** Each directory once: one inside another is in the backup already. */
export function withoutNested(directories: readonly string[]): string[] {
  const unique = [...new Set(directories)];
  return unique.filter((each) => !unique.some((other) => each.startsWith(`${other}/`)));
}
