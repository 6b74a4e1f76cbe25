import * as net from 'node:net';
import { withFullSync } from '../../adapters/engines/redis/full-sync';
import { hasCode } from '../../core/errors';
import { Secret } from '../../core/secret';
import { testContext } from '../support/engine-harness';
import { randomOf, type SeededRandom, seedsOfRounds } from '../support/random';

const REPLICATION_ID = 'a'.repeat(40);
const RDB = Buffer.concat([Buffer.from('REDIS0012'), Buffer.alloc(5_000, 7), Buffer.from([0xff]), Buffer.alloc(8, 1)]);
const MARK = Buffer.from('0123456789abcdef0123456789abcdef01234567');

const servers: net.Server[] = [];
afterAll(() => servers.forEach((each) => each.close()));

/** A server that says what a real one does only under load or in trouble; each piece arrives on its own. */
async function serverThatSays(...pieces: readonly (string | Buffer | null)[]): Promise<{ host: string; port: number }> {
  const server = net.createServer({ noDelay: true }, (socket) => {
    socket.on('error', () => undefined);
    const say = async () => {
      for (const piece of pieces) {
        if (piece === null) socket.destroy();
        else await new Promise((resolve) => socket.write(piece, () => setImmediate(resolve)));
      }
    };
    socket.on('data', (bytes) => {
      if (bytes.includes('PSYNC')) void say();
      else socket.write('+OK\r\n');
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.24.0.4', resolve));
  return { host: '127.24.0.4', port: (server.address() as net.AddressInfo).port };
}

async function receive(endpoint: { host: string; port: number }) {
  return withFullSync(endpoint, testContext(), async ({ position, rdb }) => {
    const parts: Buffer[] = [];
    for await (const part of rdb) parts.push(Buffer.from(part));
    return { position, content: Buffer.concat(parts) };
  });
}

const full = `+FULLRESYNC ${REPLICATION_ID} 4711\r\n`;
const halves = (bytes: Buffer, at: number) => [bytes.subarray(0, at), bytes.subarray(at)];

test.each([
  ['of known length', [full, `$${RDB.length}\r\n`, RDB]],
  [
    'of known length, followed by the stream',
    [full, `$${RDB.length}\r\n`, Buffer.concat([RDB, Buffer.from('*1\r\n$4\r\nPING\r\n')])],
  ],
  ['with newlines before and during', ['\n', '\n', `\n${full}`, '\n', '\n\n', `$${RDB.length}\r\n`, RDB]],
  ['all in one piece', [Buffer.concat([Buffer.from(`\n${full}\n$${RDB.length}\r\n`), RDB])]],
  [
    'with a header torn apart',
    [...halves(Buffer.from(full), 20), '\n', '$', `${RDB.length}`, '\r', '\n', ...halves(RDB, 3)],
  ],
  ['diskless', [full, `$EOF:${MARK.toString()}\r\n`, RDB, MARK]],
  ['diskless in one piece', [Buffer.concat([Buffer.from(`${full}$EOF:${MARK.toString()}\r\n`), RDB, MARK])]],
  [
    'diskless, its mark torn apart',
    [full, `$EOF:${MARK.toString()}\r\n`, ...halves(Buffer.concat([RDB, MARK]), RDB.length + 13)],
  ],
  [
    'diskless, torn before its last byte',
    [full, `$EOF:${MARK.toString()}\r\n`, ...halves(Buffer.concat([RDB, MARK]), RDB.length + 39)],
  ],
])('an RDB %s', async (_, pieces) => {
  const { position, content } = await receive(await serverThatSays(...pieces));
  expect(position).toEqual({ engine: 'redis', lineage: REPLICATION_ID, value: '4711' });
  expect(content.equals(RDB)).toBe(true);
});

test.each([
  ['cut off', 'TargetUnreachable', [full, `$${RDB.length}\r\n`, RDB.subarray(0, 900), null]],
  ['diskless, cut off before its mark', 'TargetUnreachable', [full, `$EOF:${MARK.toString()}\r\n`, RDB, null]],
  ['that is none', 'BackupIncomplete', [full, '$5\r\n', 'hello']],
  ['without an end', 'BackupIncomplete', [full, '$100\r\n', RDB.subarray(0, 100)]],
  [
    'refused by a replica without a link',
    'TargetUnreachable',
    ["-NOMASTERLINK Can't SYNC while not connected with my master\r\n"],
  ],
  ['refused for its user', 'AccessDenied', ['-NOPERM this user has no permissions to run the psync command\r\n']],
  ['by a server of another kind', 'TargetUnreachable', ['HTTP/1.1 400 Bad Request\r\n\r\n']],
] as const)('an RDB %s is %s', async (_, code, pieces) => {
  const error = await receive(await serverThatSays(...pieces)).catch((each: unknown) => each);
  expect(hasCode(error, code)).toBe(true);
});

/** Everything the server says, in pieces of random lengths. */
function torn(said: Buffer, random: SeededRandom): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < said.length;) {
    const length = 1 + random.integer(random.pick([3, 50, 4_000]));
    pieces.push(said.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

test.each(seedsOfRounds(5))('an RDB torn anywhere is whole, cut off anywhere it is none (seed %i)', async (seed) => {
  const random = randomOf(seed);
  const [head, tail] = random.pick([
    [`$${RDB.length}\r\n`, Buffer.alloc(0)],
    [`$EOF:${MARK.toString()}\r\n`, MARK],
  ] as const);
  const said = Buffer.concat([Buffer.from(full + head), RDB, tail]);
  const { content } = await receive(await serverThatSays(...torn(said, random)));
  expect(content.equals(RDB)).toBe(true);
  const at = random.integer(said.length);
  const error = await receive(await serverThatSays(...torn(said.subarray(0, at), random), null)).catch(
    (each: unknown) => each,
  );
  expect({ at, refused: hasCode(error, 'TargetUnreachable') }).toEqual({ at, refused: true });
});

test('a password goes as one word, whatever it contains', async () => {
  let seen = Buffer.alloc(0);
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes: Buffer) => {
      seen = Buffer.concat([seen, bytes]);
      socket.write('-WRONGPASS invalid username-password pair or user is disabled.\r\n');
    });
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.24.0.4', resolve));
  const { port } = server.address() as net.AddressInfo;
  const password = new Secret('pä ss"\r\nFLUSHALL\r\n');
  const error = await withFullSync({ host: '127.24.0.4', port, password }, testContext(), async () => null).catch(
    (each: unknown) => each,
  );
  expect(hasCode(error, 'AccessDenied')).toBe(true);
  expect(seen.toString()).toBe(`*2\r\n$4\r\nAUTH\r\n$19\r\n${password.reveal()}\r\n`);
  expect(JSON.stringify(error)).not.toContain('FLUSHALL');
});
