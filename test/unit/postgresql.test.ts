import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import {
  formatLsn,
  parseLsn,
  pieceName,
  positions,
  readPieceName,
  walNaming,
} from '../../adapters/engines/postgresql/lsn';
import { parseHistory } from '../../adapters/engines/postgresql/timeline-history';
import { unpackBackup } from '../../adapters/engines/postgresql/unpack';
import { WalCollector } from '../../adapters/engines/postgresql/wal-collector';
import type { Artifact } from '../../core/catalog';
import { hasCode } from '../../core/errors';
import { testContext } from '../support/engine-harness';
import { member } from '../support/tar-member';

const MEBIBYTE = 1024n * 1024n;

test('LSNs are read and written as the server does, and ordered over the 4 GiB boundary', () => {
  expect(formatLsn(parseLsn('16/B374D848'))).toBe('16/B374D848');
  expect(() => parseLsn('16-B374')).toThrow(/not a PostgreSQL LSN/);
  const at = (value: string, lineage = '7/1') => positions.parse(value, lineage);
  expect(positions.compare(at('0/FFFFFFFF'), at('1/0'))).toBeLessThan(0);
  expect(() => positions.compare(at('0/1'), at('0/1', '7/2'))).toThrow(/two timelines/);
});

test.each([16n, 1n, 64n, 1024n])('names of pieces say what they cover, with segments of %s MiB', (mebibytes) => {
  const size = mebibytes * MEBIBYTE;
  const start = ((2n * 4096n * MEBIBYTE) / size) * size + 3n * size;
  const whole = pieceName(10, start, start + size, size);
  expect(readPieceName(whole)).toMatchObject({ from: start, to: start + size, whole: true, segmentBytes: size });
  const slice = pieceName(10, start + 16n, start + 4096n, size);
  expect(readPieceName(slice)).toMatchObject({ from: start + 16n, to: start + 4096n, whole: false });
  expect(walNaming.read('7/10', slice)?.kind).toBe('slice');
  expect(walNaming.read('7/11', slice)).toBeNull();
});

test("a WAL segment keeps the server's own name; others are left alone", () => {
  expect(pieceName(1, 0x3000000n, 0x4000000n, 16n * MEBIBYTE)).toBe('000000010000000000000003');
  expect(readPieceName('000000010000000000000003.partial')).toBeNull();
  expect(readPieceName('00000002.history')).toBeNull();
});

test('history files give the ancestors of a timeline', () => {
  const content = '1\t0/5000150\tno recovery target specified\n\n# a note\n2\t0/7000000\tbefore 2026-01-01\n';
  expect(parseHistory(content, 3, 'there')).toEqual([
    { timeline: 1, switchLsn: 0x5000150n },
    { timeline: 2, switchLsn: 0x7000000n },
  ]);
});

test.each([
  ['a line without a position', '1\tno recovery target specified\n', 'line 1'],
  ['a position that is none', '1\t0/5000150\tx\n2\t0:7000000\tx\n', 'line 2'],
  ['a position that is too long', '1\t0/500015000\tx\n', 'line 1'],
  ['a timeline that is no number', 'q\t0/5000150\tx\n', 'line 1'],
  ['timelines out of order', '2\t0/5000150\tx\n1\t0/7000000\tx\n', 'line 2'],
  ['the timeline itself', '3\t0/5000150\tx\n', 'line 1'],
  ['nothing', '\n', 'names no timeline'],
])('a history file with %s is refused and named', (_, content, why) => {
  expect(() => parseHistory(content, 3, 'history file 7-00000003.history')).toThrow(
    expect.objectContaining({
      type: 'BackupCorrupt',
      message: expect.stringMatching(new RegExp(`7-00000003.history: .*${why}`)),
    }),
  );
});

test('streamed WAL is put together over segment borders, and a hole in it is refused', () => {
  const collector = new WalCollector(0n, MEBIBYTE);
  const bytes = Buffer.alloc(Number(MEBIBYTE) + 100, 7);
  collector.add(0n, bytes.subarray(0, 1000));
  collector.add(1000n, bytes.subarray(1000));
  expect(collector.takeSegment()?.bytes.equals(bytes.subarray(0, Number(MEBIBYTE)))).toBe(true);
  expect(collector.current()).toMatchObject({ start: MEBIBYTE, end: MEBIBYTE + 100n });
  expect(() => collector.add(MEBIBYTE + 101n, Buffer.alloc(1))).toThrow(/was next/);
});

test.each([
  ['a name with ..', member('base/../../outside', Buffer.from('x')), /leads out/],
  ['an absolute name', member('/etc/outside', Buffer.from('x')), /leads out/],
  ['a link', member('pg_wal', Buffer.alloc(0), '2', '/etc'), /unexpected link/],
  ['a file that the manifest does not know', member('base/1', Buffer.from('x')), /not in the backup manifest/],
  ['other bytes', member('PG_VERSION', Buffer.from('19\n')), /differs from its checksum/],
  ['an end in the middle', member('PG_VERSION', Buffer.from('18\n')).subarray(0, 513), /cut off/],
])('unpacking refuses %s', async (_, archive, message) => {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-unpack-'));
  const owner = { uid: process.getuid!(), gid: process.getgid!() };
  const target = { data: path.join(directory, 'data'), tablespaces: path.join(directory, 'tablespaces'), owner };
  const checksum = createHash('sha256').update('18\n').digest('hex');
  const expected = { sizeBytes: 3, algorithm: 'SHA256' as const, checksum };
  const source = {
    open: async () => Readable.from([archive, Buffer.alloc(1024)], { objectMode: false }),
    early: async () => Buffer.alloc(0),
  };
  const cut = archive.length % 512 !== 0;
  const short = { ...source, open: async () => Readable.from([archive], { objectMode: false }) };
  const artifact = { name: 'vol-00001.tar', key: 'some/vol-00001.tar' } as Artifact;
  const files = new Map([['PG_VERSION', expected]]);
  const wanted = new Map([['PG_VERSION', { name: 'PG_VERSION', kind: 'whole' as const, last: true }]]);
  const whole = { artifacts: [artifact], needed: [artifact], files, wanted, newest: true };
  const refused = await unpackBackup(whole, cut ? short : source, target, testContext()).catch(
    (error: unknown) => error,
  );
  expect(hasCode(refused, 'BackupCorrupt')).toBe(true);
  expect((refused as Error).message).toMatch(message);
  expect(fs.existsSync(path.join(directory, 'outside'))).toBe(false);
  fs.rmSync(directory, { recursive: true, force: true });
});
