import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { gateArchive } from '../../adapters/engines/files/archive-gate';
import { FoundFiles, FoundTree } from '../../adapters/engines/files/as-found';
import { StoredMembers } from '../../adapters/engines/files/stored-members';
import { walkTree } from '../../adapters/engines/files/tree-walk';
import { hasCode } from '../../core/errors';
import { seededNumbers } from '../support/random';

const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-members-'));
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));

const NAMES = ['plain', 'n'.repeat(200), 'sparse', 'again', 'ümläut\nline', 'empty'];
fs.writeFileSync(path.join(root, 'plain'), 'x'.repeat(1_500));
fs.writeFileSync(path.join(root, 'n'.repeat(200)), 'y'.repeat(512));
fs.writeFileSync(path.join(root, 'sparse'), '');
fs.truncateSync(path.join(root, 'sparse'), 3_000_000);
fs.linkSync(path.join(root, 'plain'), path.join(root, 'again'));
fs.writeFileSync(path.join(root, 'ümläut\nline'), 'z');
fs.writeFileSync(path.join(root, 'empty'), '');
fs.mkdirSync(path.join(root, 'directory'));
fs.symlinkSync('/etc', path.join(root, 'link'));

/** Names as a backup has them, from below `/` on. */
const full = (name: string) => path.join(root, name).slice(1);

const archiveOf = (names: readonly string[]) =>
  execFileSync('tar', ['-cf', '-', '--format=pax', '--sparse', '--no-recursion', '-C', '/', ...names.map(full)]);

async function through(bytes: Buffer, sizes: () => number) {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = sizes();
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  const found = new FoundFiles(false);
  const members = new StoredMembers('vol-00001.tar', found);
  const parts: Buffer[] = [];
  for await (const part of Readable.from(chunks, { objectMode: false }).compose(members)) parts.push(part as Buffer);
  const stored = [...found.stored].map((each) => Buffer.from(each, 'latin1').toString());
  return { passed: Buffer.concat(parts), stored, replaced: members.replaced.map(String) };
}

test.each([1, 7, 511, 512, 513, 10_240, 1_000_000])(
  'what GNU tar writes passes unchanged in pieces of up to %i bytes',
  async (most) => {
    const next = seededNumbers(most);
    const bytes = archiveOf(NAMES);
    const { passed, stored, replaced } = await through(bytes, () => 1 + Math.floor(next() * most));
    expect(passed.equals(bytes)).toBe(true);
    expect(stored).toEqual(NAMES.map(full));
    expect(replaced).toEqual([]);
  },
);

test.each([
  ['in the middle', ['plain', 'link', 'sparse', 'directory', 'empty']],
  ['at the end', ['plain', 'sparse', 'empty', 'directory', 'link']],
])('files that became a link or a directory are left out %s, and a restore takes the rest', async (_, names) => {
  const { passed, stored, replaced } = await through(archiveOf(names), () => 4_096);
  expect(replaced.toSorted()).toEqual(['directory', 'link'].map(full));
  expect(stored).toEqual(['plain', 'sparse', 'empty'].map(full));
  expect(execFileSync('tar', ['-tf', '-'], { input: passed }).toString().split('\n')).toHaveLength(4);
  const admitted: string[] = [];
  const gate = gateArchive(Readable.from([passed]), 'vol-00001.tar', 'contents', false, (name) => {
    admitted.push(name);
    return true;
  });
  for await (const part of gate) expect(part).toBeInstanceOf(Buffer);
  expect(admitted).toEqual(stored);
});

describe('a directory that became a link', () => {
  const behind = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-behind-'));
  afterAll(() => fs.rmSync(behind, { recursive: true, force: true }));
  fs.writeFileSync(path.join(behind, 'secret'), 'of another');
  fs.linkSync(path.join(behind, 'secret'), path.join(root, 'same'));
  fs.symlinkSync(behind, path.join(root, 'swapped'));

  test('is not followed', async () => {
    const { passed, stored, replaced } = await through(archiveOf(['plain', 'swapped/secret', 'empty']), () => 4_096);
    expect(stored).toEqual(['plain', 'empty'].map(full));
    expect(replaced).toEqual([full('swapped/secret')]);
    expect(passed.includes('of another')).toBe(false);
  });

  test('never leaves a hard link to nothing behind', async () => {
    const refused = await through(archiveOf(['swapped/secret', 'same']), () => 4_096).catch((error: unknown) => error);
    expect(hasCode(refused, 'BackupIncomplete')).toBe(true);
  });

  test('or the other way round is not in the tree', async () => {
    const options = { excluded: () => false, oneFileSystem: true, onProblem: () => undefined };
    const walked = walkTree(root, 'root', { ...options, signal: new AbortController().signal });
    const found = new FoundTree();
    const kinds = new Map([
      ['directory', '2'],
      ['link', '5'],
      ['swapped', '2'],
    ]);
    const kept: string[] = [];
    for await (const name of found.names(walked)) {
      const text = name.toString('latin1');
      const kind = kinds.get(path.basename(text));
      if (kind !== undefined && found.isAsFound(text, kind)) kept.push(text);
    }
    expect(kept).toEqual([full('swapped')]);
  });
});
