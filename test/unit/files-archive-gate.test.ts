import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { gateArchive, type VolumeRole } from '../../adapters/engines/files/archive-gate';
import { extractArchive } from '../../adapters/engines/files/tar-process';
import { failure, hasCode } from '../../core/errors';
import { seededNumbers, seedsOfRounds } from '../support/random';

interface Member {
  readonly name: string;
  readonly type?: string;
  readonly linkName?: string;
  readonly content?: string;
  readonly pax?: Readonly<Record<string, string>>;
  readonly magic?: string;
}

function block(member: Member, size: number): Buffer {
  const header = Buffer.alloc(512);
  header.write(member.name, 0, 100, 'latin1');
  header.write('0000644\0', 100);
  header.write('0000000\0', 108);
  header.write('0000000\0', 116);
  header.write(`${size.toString(8).padStart(11, '0')}\0`, 124);
  header.write('00000000000\0', 136);
  header.write('        ', 148);
  header.write(member.type ?? '0', 156, 1, 'latin1');
  header.write(member.linkName ?? '', 157, 100, 'latin1');
  header.write(member.magic ?? 'ustar\x0000', 257, 'latin1');
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

const padded = (content: Buffer) => Buffer.concat([content, Buffer.alloc((512 - (content.length % 512)) % 512)]);

function record(keyword: string, value: string): string {
  const rest = ` ${keyword}=${value}\n`;
  const length = [1, 2, 3].map((digits) => digits + rest.length).find((each) => `${each}${rest}`.length === each);
  return `${length}${rest}`;
}

function archive(...members: Member[]): Buffer {
  const parts = members.flatMap((member) => {
    const content = Buffer.from(member.content ?? '', 'latin1');
    const records = Buffer.from(
      Object.entries(member.pax ?? {})
        .map(([key, value]) => record(key, value))
        .join(''),
      'latin1',
    );
    const extended = records.length > 0 ? [block({ name: 'pax', type: 'x' }, records.length), padded(records)] : [];
    return [...extended, block(member, content.length), padded(content)];
  });
  return Buffer.concat([...parts, Buffer.alloc(1024)]);
}

async function* pieces(bytes: Buffer, size = 700): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

const gate = (bytes: Buffer, role: VolumeRole) => gateArchive(pieces(bytes), 'vol-00001.tar', role, false);

const HOSTILE: Readonly<Record<string, readonly [VolumeRole, Buffer]>> = {
  'a name with ..': ['contents', archive({ name: 'opt/../../evil', content: 'x' })],
  'a name that is only ..': ['tree', archive({ name: '..', type: '5' })],
  'an absolute name': ['contents', archive({ name: '/tmp/drctl-evil', content: 'x' })],
  'an extended name with ..': ['contents', archive({ name: 'harmless', content: 'x', pax: { path: '../evil' } })],
  'a sparse name with ..': [
    'contents',
    archive({ name: 'harmless', content: 'x', pax: { 'GNU.sparse.name': '../evil' } }),
  ],
  'an extended name with a null byte': ['contents', archive({ name: 'harmless', pax: { path: 'a\0/../../evil' } })],
  'the marker of the restore': ['contents', archive({ name: '.drctl-restore.json', content: '{}' })],
  'an empty name': ['contents', archive({ name: '', content: 'x' })],
  'a doubled slash': ['contents', archive({ name: 'a//b', content: 'x' })],
  'a symbolic link among contents': ['contents', archive({ name: 'a', type: '2', linkName: '/etc' })],
  'a directory among contents': ['contents', archive({ name: 'a/', type: '5' })],
  'a file in the tree volume': ['tree', archive({ name: 'a', content: 'x' })],
  'a directory below a link': [
    'tree',
    archive({ name: 'a', type: '2', linkName: '/etc' }, { name: 'a/b/', type: '5' }),
  ],
  'a directory over a link': ['tree', archive({ name: 'a', type: '2', linkName: '/etc' }, { name: 'a/', type: '5' })],
  'a link below a link to a link': [
    'tree',
    archive(
      { name: 'a', type: '2', linkName: 'b' },
      { name: 'b', type: '2', linkName: '..' },
      { name: 'a/x', type: '2', linkName: 'y' },
    ),
  ],
  'a hard link out of the directory': ['contents', archive({ name: 'a', type: '1', linkName: '../../etc/passwd' })],
  'a hard link to an absolute name': ['contents', archive({ name: 'a', type: '1', linkName: '/etc/passwd' })],
  'an extended hard link': [
    'contents',
    archive({ name: 'a', type: '1', linkName: 'b', pax: { linkpath: '/etc/passwd' } }),
  ],
  'a hard link with content': [
    'contents',
    archive({ name: 'b', content: 'x' }, { name: 'a', type: '1', linkName: 'b', content: 'y' }),
  ],
  'a hard link to no link in the tree volume': ['tree', archive({ name: 'a', type: '1', linkName: 'b' })],
  'a character device': ['contents', archive({ name: 'a', type: '3' })],
  'a block device': ['contents', archive({ name: 'a', type: '4' })],
  'a GNU long name': ['contents', archive({ name: '././@LongLink', type: 'L', content: '../evil' }, { name: 'a' })],
  'a GNU long link': ['contents', archive({ name: '././@LongLink', type: 'K', content: '/etc' }, { name: 'a' })],
  'a global extended header': [
    'contents',
    archive({ name: 'g', type: 'g', content: record('path', '../evil') }, { name: 'a' }),
  ],
  'an unknown keyword': ['contents', archive({ name: 'a', pax: { 'GNU.volume.filename': 'x' } })],
  'a GNU header': ['contents', archive({ name: 'a', magic: 'ustar  \0' })],
  'something after its end': ['contents', Buffer.concat([archive({ name: 'a' }), archive({ name: '../evil' })])],
  'no end': ['contents', archive({ name: 'a', content: 'x' }).subarray(0, 1024)],
  'content that is cut off': ['contents', archive({ name: 'a', content: 'x'.repeat(2000) }).subarray(0, 1024)],
  'a wrong checksum': ['contents', flipped(archive({ name: 'a', content: 'x' }), 1)],
};

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] as number) ^ 1;
  return copy;
}

const folders: string[] = [];
afterAll(() => folders.forEach((each) => fs.rmSync(each, { recursive: true, force: true })));

/** A directory in a directory, so that what leaves it is seen. */
function place(): { outer: string; inner: string } {
  const outer = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-gate-'));
  folders.push(outer);
  const inner = path.join(outer, 'one', 'two', 'place');
  fs.mkdirSync(inner, { recursive: true });
  return { outer, inner };
}

/** By `find`, which follows no link; Node's recursive readdir does. */
const everythingIn = (folder: string) =>
  execFileSync('find', [folder, '-mindepth', '1', '-printf', '%P\\0'])
    .toString('latin1')
    .split('\0')
    .slice(0, -1)
    .toSorted();

test.each(Object.entries(HOSTILE))('%s is refused before tar sees it', async (_, [role, bytes]) => {
  const { outer, inner } = place();
  const before = everythingIn(outer).filter((name) => !name.startsWith('one/two/place/'));
  const refused = await extractArchive(
    Readable.from(gate(bytes, role), { objectMode: false }),
    inner,
    new AbortController().signal,
  ).catch((error: unknown) => error);
  expect(hasCode(refused, 'BackupCorrupt')).toBe(true);
  expect((refused as Error).message).toContain('vol-00001.tar');
  expect(everythingIn(outer).filter((name) => !name.startsWith('one/two/place/'))).toEqual(before);
  expect(fs.existsSync('/tmp/drctl-evil')).toBe(false);
});

test('what GNU tar writes for us passes unchanged', async () => {
  const { inner } = place();
  fs.mkdirSync(path.join(inner, 'd'.repeat(120)));
  fs.writeFileSync(path.join(inner, 'd'.repeat(120), 'f'.repeat(200)), 'content');
  fs.writeFileSync(path.join(inner, 'sparse'), '');
  fs.truncateSync(path.join(inner, 'sparse'), 5_000_000);
  const args = ['-cf', '-', '--format=pax', '--sparse', '--no-recursion', '-C', inner];
  const bytes = execFileSync('tar', [...args, `${'d'.repeat(120)}/${'f'.repeat(200)}`, 'sparse']);
  const passed: Buffer[] = [];
  for await (const part of gate(bytes, 'contents')) passed.push(part);
  expect(Buffer.concat(passed).equals(bytes)).toBe(true);
});

test('a digest that is found wrong after the last byte is heard, however soon tar has all it needs', async () => {
  const { inner } = place();
  const content = async function* () {
    yield archive({ name: 'a', content: 'x' });
    yield Buffer.alloc(40 * 512);
    await sleep(300); // tar ends within milliseconds of its end mark
    throw failure('BackupCorrupt', 'vol-00001.tar: digest');
  };
  const stream = Readable.from(gateArchive(content(), 'vol-00001.tar', 'contents', false), { objectMode: false });
  const refused = await extractArchive(stream, inner, new AbortController().signal).catch((error: unknown) => error);
  expect(hasCode(refused, 'BackupCorrupt')).toBe(true);
});

test.each(seedsOfRounds())(
  'whatever bytes are altered, nothing is written outside (seed %i)',
  async (seed) => {
    const next = seededNumbers(seed);
    const good = archive(
      { name: 'opt/a', content: 'x'.repeat(600) },
      { name: 'opt/b', content: 'y', pax: { path: 'opt/long' } },
    );
    let refusals = 0;
    for (let attempt = 0; attempt < 60; attempt++) {
      const { outer, inner } = place();
      const bytes = Buffer.from(good);
      for (let change = 0; change < 3; change++) bytes[Math.floor(next() * 2560)] = Math.floor(next() * 256);
      const content = Readable.from(gate(bytes, 'contents'), { objectMode: false });
      const error = await extractArchive(content, inner, new AbortController().signal).catch((each: unknown) => each);
      if (error !== undefined) refusals++;
      const outside = everythingIn(outer).filter((name) => !/^one(\/two(\/place(\/.*)?)?)?$/s.test(name));
      expect({ seed, attempt, outside }).toEqual({ seed, attempt, outside: [] });
    }
    expect(refusals).toBeGreaterThan(10);
  },
  60_000,
);
