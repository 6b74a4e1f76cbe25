import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { gateArchive } from '../../adapters/engines/files/archive-gate';
import { StoredMembers } from '../../adapters/engines/files/stored-members';
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

const archiveOf = (names: readonly string[]) =>
  execFileSync('tar', ['-cf', '-', '--format=pax', '--sparse', '--no-recursion', '-C', root, ...names]);

async function through(bytes: Buffer, sizes: () => number): Promise<{ passed: Buffer; members: StoredMembers }> {
  const chunks: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const size = sizes();
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  const members = new StoredMembers('vol-00001.tar', 'contents', false);
  const parts: Buffer[] = [];
  for await (const part of Readable.from(chunks, { objectMode: false }).pipe(members)) parts.push(part as Buffer);
  return { passed: Buffer.concat(parts), members };
}

test.each([1, 7, 511, 512, 513, 10_240, 1_000_000])(
  'what GNU tar writes passes unchanged in pieces of up to %i bytes',
  async (most) => {
    const next = seededNumbers(most);
    const bytes = archiveOf(NAMES);
    const { passed, members } = await through(bytes, () => 1 + Math.floor(next() * most));
    expect(passed.equals(bytes)).toBe(true);
    expect([...members.stored].map((each) => Buffer.from(each, 'latin1').toString())).toEqual(NAMES);
    expect(members.replaced).toEqual([]);
  },
);

test('files that became a link or a directory are left out, and what remains is an archive that a restore takes', async () => {
  const bytes = archiveOf(['plain', 'link', 'sparse', 'directory', 'empty']);
  const { passed, members } = await through(bytes, () => 4_096);
  expect(members.replaced.map(String)).toEqual(['link', 'directory']);
  expect([...members.stored]).toEqual(['plain', 'sparse', 'empty']);
  expect(execFileSync('tar', ['-tf', '-'], { input: passed }).toString().split('\n')).toEqual([
    'plain',
    expect.stringContaining('sparse'),
    'empty',
    '',
  ]);
  const admitted: string[] = [];
  const gate = gateArchive(Readable.from([passed]), 'vol-00001.tar', 'contents', false, (name) => {
    admitted.push(name);
    return true;
  });
  for await (const part of gate) expect(part).toBeInstanceOf(Buffer);
  expect(admitted).toEqual(['plain', 'sparse', 'empty']);
});
