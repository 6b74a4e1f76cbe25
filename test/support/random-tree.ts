import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import { seededBytes } from './random';

const SLASH = Buffer.from('/');
/** Others may neither give files away nor read what forbids it. */
const isRoot = process.getuid?.() === 0;
const MODES = [0o755, 0o700, 0o777, 0o4755, 0o1777, 0o751];

/** Names that break tools: white space, quoting, options, globs, line breaks, what is no UTF-8, great length. */
const HOSTILE_NAMES = [
  ' ', '  lead and trail ', '-rf', '--checkpoint-action=exec=sh', '*', '?[a]', 'new\nline', 'tab\there', 'back\\slash',
  '\\n', "quo'te", 'quo"te', '$(id)', ';id', '~', '...', '..a', 'ünïcödé', '日本語', 'a=b', '#x', '@longlink', 'x'.repeat(255),
].map((name) => Buffer.from(name)); // prettier-ignore
const NOT_UTF8 = [Buffer.from([0xff, 0xfe, 0x80]), Buffer.from([0x61, 0xc3, 0x28]), Buffer.from([0x01, 0x7f])];

/** Fills an existing directory. `next` gives numbers in [0, 1): the same numbers make the same tree. */
export function makeRandomTree(root: string, next: () => number, entries: number): void {
  const pick = <T>(all: readonly T[]): T => all[Math.floor(next() * all.length)] as T;
  const directories: Buffer[] = [Buffer.from(root)];
  const files: Buffer[] = [];
  const late: (() => void)[] = [];
  const content = seededBytes(Math.floor(next() * 2 ** 32));
  for (let index = 0; index < entries; index++) {
    const hostile = next() < 0.4;
    const name = hostile ? pick([...HOSTILE_NAMES, ...NOT_UTF8]) : Buffer.from(`name-${index}`);
    const path = Buffer.concat([pick(directories), SLASH, name]);
    if (fs.existsSync(path) || fs.lstatSync(path, { throwIfNoEntry: false })) continue;
    if (path.length > 3_500) continue;
    const kind = next();
    const seconds = Math.floor(next() * 2_000_000_000);
    if (kind < 0.25) {
      fs.mkdirSync(path);
      directories.push(path);
    } else if (kind < 0.65) {
      fs.writeFileSync(path, content(Math.floor(next() ** 3 * 40_000)));
      files.push(path);
    } else if (kind < 0.75 && files.length > 0) {
      fs.linkSync(pick(files), path);
      continue;
    } else if (kind < 0.85) {
      const target = pick(['../../..', '/etc/passwd', 'name-1', '.', 'dangling', 'y'.repeat(300), '../name-2/deeper']);
      fs.symlinkSync(next() < 0.2 ? pick(NOT_UTF8) : Buffer.from(target), path);
      late.push(() => fs.lutimesSync(path, seconds, seconds));
      continue;
    } else if (kind < 0.9) {
      execFileSync('mkfifo', ['--', `${root}/fifo-${index}`]);
      continue;
    } else {
      fs.writeFileSync(path, '');
      fs.truncateSync(path, Math.floor(next() * 3_000_000));
      const handle = fs.openSync(path, 'r+');
      if (next() < 0.7) fs.writeSync(handle, 'data in a hole', Math.floor(next() * 2_000_000));
      fs.closeSync(handle);
      files.push(path);
    }
    const mode = pick(isRoot ? [...MODES, 0o000, 0o111] : MODES);
    late.push(() => {
      if (isRoot) fs.chownSync(path, Math.floor(next() * 60_000), Math.floor(next() * 60_000));
      fs.chmodSync(path, mode);
      fs.utimesSync(path, seconds + next(), seconds + next());
    });
  }
  // Deepest first, so that a directory's time is set after everything in it was made.
  for (const step of late.toReversed()) step();
}

/** What a tree is, read without any of our code: one line an entry, hard links by the first of their names. */
export function describeTree(root: string): string[] {
  const lines: string[] = [];
  const inodes = new Map<string, string>();
  const visit = (path: Buffer, relative: string) => {
    const stat = fs.lstatSync(path, { bigint: true });
    const inode = `${stat.dev}:${stat.ino}`;
    const first = inodes.get(inode) ?? relative;
    inodes.set(inode, first);
    const content = stat.isFile()
      ? fs.readFileSync(path).toString('base64')
      : stat.isSymbolicLink()
        ? fs.readlinkSync(path, 'buffer').toString('base64')
        : '';
    const kind = stat.isDirectory() ? '' : first;
    lines.push([relative, stat.mode.toString(8), stat.uid, stat.gid, stat.mtimeNs, kind, content].join('|'));
    if (!stat.isDirectory()) return;
    const names = fs.readdirSync(path, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b));
    for (const name of names) visit(Buffer.concat([path, SLASH, name]), `${relative}/${name.toString('latin1')}`);
  };
  visit(Buffer.from(root), '');
  return lines;
}

/** Changes an existing tree as its users do: every kind of change that an incremental has to see, some of them hidden well. */
export function changeRandomTree(root: string, next: () => number, changes: number): void {
  const pick = <T>(all: readonly T[]): T => all[Math.floor(next() * all.length)] as T;
  const content = seededBytes(Math.floor(next() * 2 ** 32));
  let made = 0;
  const fresh = (directory: Buffer) =>
    Buffer.concat([directory, SLASH, Buffer.from(`new-${Math.floor(next() * 2 ** 40)}-${made++}`)]);
  for (let change = 0; change < changes; change++) {
    const { directories, files, links } = entriesOf(Buffer.from(root));
    const inner = directories.slice(1);
    const file = files.length > 0 ? pick(files) : null;
    const kind = Math.floor(next() * 14);
    if (kind <= 1 || !file) fs.writeFileSync(fresh(pick(directories)), content(Math.floor(next() * 20_000)));
    else if (kind === 2) fs.mkdirSync(fresh(pick(directories)));
    else if (kind === 3) fs.rmSync(file);
    else if (kind === 4 && inner.length > 3) fs.rmSync(pick(inner), { recursive: true });
    else if (kind === 5) fs.renameSync(file, fresh(pick(directories)));
    else if (kind === 6 && inner.length > 0) fs.renameSync(pick(inner), fresh(Buffer.from(root)));
    else if (kind === 7) changeUnseen(file, content);
    else if (kind === 8) fs.chmodSync(file, pick(MODES));
    else if (kind === 9) fs.linkSync(file, fresh(pick(directories)));
    else if (kind === 10) replaceBy(file, () => fs.mkdirSync(file));
    else if (kind === 11) replaceBy(pick([...inner, file]), (path) => fs.symlinkSync(Buffer.from('/etc'), path));
    else if (kind === 12 && links.length > 0) replaceBy(pick(links), (path) => fs.writeFileSync(path, 'was a link'));
    else exchange(file, pick(files));
  }
}

/** The size and the time of change stay as they were. */
function changeUnseen(file: Buffer, content: (sizeBytes: number) => Buffer): void {
  const stat = fs.statSync(file);
  fs.writeFileSync(file, content(Math.min(stat.size, 50_000)), { flag: 'r+' });
  fs.utimesSync(file, stat.atime, stat.mtime);
}

function replaceBy(path: Buffer, make: (path: Buffer) => void): void {
  fs.rmSync(path, { recursive: true });
  make(path);
}

function exchange(one: Buffer, other: Buffer): void {
  if (one.equals(other)) return;
  const between = Buffer.concat([one, Buffer.from('~')]);
  if (between.length - between.lastIndexOf('/') > 255) return;
  fs.renameSync(one, between);
  fs.renameSync(other, one);
  fs.renameSync(between, other);
}

/** Directories with the root first. */
function entriesOf(root: Buffer): { directories: Buffer[]; files: Buffer[]; links: Buffer[] } {
  const found: { directories: Buffer[]; files: Buffer[]; links: Buffer[] } = {
    directories: [root],
    files: [],
    links: [],
  };
  for (const directory of found.directories) {
    for (const name of fs.readdirSync(directory, { encoding: 'buffer' }).toSorted((a, b) => a.compare(b))) {
      const path = Buffer.concat([directory, SLASH, name]);
      const stat = fs.lstatSync(path);
      if (stat.isDirectory()) found.directories.push(path);
      else if (stat.isSymbolicLink()) found.links.push(path);
      else if (stat.isFile()) found.files.push(path);
    }
  }
  return found;
}
