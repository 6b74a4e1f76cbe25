import { randomBytes } from 'node:crypto';
import { createServer, type Server, type Socket } from 'node:net';
import { once } from 'node:events';
import { Writable } from 'node:stream';
import type { ManifestFile } from '../../adapters/engines/postgresql/backup-manifest';
import { MemberCheck } from '../../adapters/engines/postgresql/member-check';
import { memberChecksum } from '../../adapters/engines/postgresql/member-checksum';
import { messageSocket } from '../../adapters/engines/postgresql/message-socket';
import { VolumeCutter } from '../../adapters/engines/postgresql/volume-cutter';
import { seededRandom } from '../support/random';
import { member } from '../support/tar-member';

test('CRC-32C is written as the server writes it', () => {
  // "123456789" is the check value e3069283 of the CRC catalogue; the server stores its bytes little-endian.
  const checksum = memberChecksum('CRC32C');
  checksum.update(Buffer.from('1234'));
  checksum.update(Buffer.from('56789'));
  expect(checksum.hex()).toBe('839206e3');
});

describe('the files of a base backup against the manifest', () => {
  const content = Buffer.from('the content of a relation');
  const other = Buffer.from('the content of A relation');
  const crc = (bytes: Buffer) => {
    const checksum = memberChecksum('CRC32C');
    checksum.update(bytes);
    return checksum.hex();
  };
  const file = (bytes: Buffer): ManifestFile => ({
    sizeBytes: bytes.length,
    algorithm: 'CRC32C',
    checksum: crc(bytes),
  });

  /** Sends archives through a cutter in pieces of random sizes and answers what it made of them. */
  async function cut(archives: readonly (readonly [string | null, Buffer])[], targetVolumeBytes = 1) {
    const volumes = new Map<string, Buffer[]>();
    const volume = (name: string) => {
      const parts: Buffer[] = [];
      volumes.set(name, parts);
      return new Writable({ write: (chunk: Buffer, _, done) => (parts.push(Buffer.from(chunk)), done()) });
    };
    const check = new MemberCheck('CRC32C');
    const flow = { onFull: () => undefined, onDrained: () => undefined, onError: (error: unknown) => void error };
    const cutter = new VolumeCutter({ targetVolumeBytes, volume, early: async () => undefined }, check, flow);
    const { integer } = seededRandom('pieces of a base backup');
    for (const [tablespace, archive] of archives) {
      cutter.begin(tablespace);
      for (let at = 0; at < archive.length;) {
        const length = 1 + integer(700);
        cutter.push(archive.subarray(at, at + length));
        at += length;
      }
    }
    await cutter.finish();
    return { check, volumes: new Map([...volumes].map(([name, parts]) => [name, Buffer.concat(parts)])) };
  }

  const base = Buffer.concat([
    member('PG_VERSION', Buffer.from('18\n')),
    member('base/5', Buffer.alloc(0), '5'),
    member('base/5/1259', content),
  ]);
  const space = member('PG_18_202506291/5/16385', content);
  const expected = new Map([
    ['PG_VERSION', file(Buffer.from('18\n'))],
    ['base/5/1259', file(content)],
    ['pg_tblspc/16384/PG_18_202506291/5/16385', file(content)],
  ]);

  test('all of them whole: nothing is thrown, and the volumes hold them all, each ended', async () => {
    const { check, volumes } = await cut([
      [null, base],
      ['16384', space],
    ]);
    check.compare(expected, 'here');
    const end = Buffer.alloc(1024);
    const cutAt = member('PG_VERSION', Buffer.from('18\n')).length;
    expect([...volumes.keys()]).toEqual(['vol-00001.tar', 'vol-00002.tar', 'vol-00003.tar', '16384-vol-00001.tar']);
    expect(volumes.get('vol-00001.tar')?.equals(Buffer.concat([base.subarray(0, cutAt), end]))).toBe(true);
    expect(volumes.get('16384-vol-00001.tar')?.equals(Buffer.concat([space, end]))).toBe(true);
  });

  test.each<[string, ReadonlyMap<string, ManifestFile>, RegExp]>([
    ['a file that did not come', new Map([...expected, ['base/5/1', file(content)]]), /base\/5\/1 is missing/],
    [
      'a file too many',
      new Map([...expected].filter(([name]) => name !== 'PG_VERSION')),
      /PG_VERSION is not in the manifest/,
    ],
    ['other bytes', new Map([...expected, ['base/5/1259', file(other)]]), /base\/5\/1259 differs from its checksum/],
    ['another size', new Map([...expected, ['base/5/1259', file(content.subarray(1))]]), /has 25 bytes instead of 24/],
  ])('%s is named', async (_, manifest, message) => {
    const { check } = await cut([
      [null, base],
      ['16384', space],
    ]);
    expect(() => check.compare(manifest, 'here')).toThrow(message);
  });
});

describe('a socket for whole messages', () => {
  let server: Server;
  let peer: Promise<Socket>;
  beforeEach(async () => {
    const arrived = Promise.withResolvers<Socket>();
    peer = arrived.promise;
    server = createServer((socket) => arrived.resolve(socket)).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterEach(() => server.close());

  function message(content: Buffer): Buffer {
    const header = Buffer.from('d....');
    header.writeUInt32BE(content.length + 4, 1);
    return Buffer.concat([header, content]);
  }

  test('hands on every message once, whole and in order, whatever pieces and sizes it comes in, also after a pause', async () => {
    const { integer } = seededRandom('messages of a socket');
    const messages = Array.from({ length: 300 }, (_, index) =>
      message(randomBytes(index % 50 === 7 ? 300_000 + integer(900_000) : integer(40_000))),
    );
    const socket = messageSocket();
    const got: Buffer[] = [];
    socket.on('data', (chunk: Buffer) => {
      got.push(Buffer.from(chunk)); // valid during the call only
      if (integer(10) > 0) return;
      socket.pause();
      setImmediate(() => socket.resume());
    });
    const address = server.address() as { port: number };
    socket.connect(address.port, '127.0.0.1');
    const sender = await peer;
    const all = Buffer.concat(messages);
    for (let at = 0; at < all.length;) {
      const length = 1 + integer(200_000);
      if (!sender.write(all.subarray(at, at + length))) await once(sender, 'drain');
      at += length;
    }
    sender.end();
    await once(socket, 'close');
    expect(Buffer.concat(got).equals(all)).toBe(true);
    const ends = new Set<number>();
    messages.reduce((end, each) => (ends.add(end + each.length), end + each.length), 0);
    let end = 0;
    expect(got.every((chunk) => ends.has((end += chunk.length)))).toBe(true);
  });
});
