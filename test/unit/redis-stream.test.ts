import { CommandScanner } from '../../adapters/engines/redis/command-scanner';
import { naming, offsetOf, pieceName, readPieceName, redisPosition } from '../../adapters/engines/redis/positions';
import { SliceCollector } from '../../adapters/engines/redis/slice-collector';
import { MARK_CHANNEL } from '../../adapters/engines/redis/stream-marks';
import { decodePiece } from '../../adapters/engines/redis/stream-piece';
import type { LogPiece } from '../../core/log-archive';
import { hasCode } from '../../core/errors';
import { randomOf, type SeededRandom, seedsOfRounds } from '../support/random';

const LINEAGE = 'a'.repeat(40);

function command(...words: (string | Buffer)[]): Buffer {
  const parts = words.map((word) => Buffer.from(word as string));
  return Buffer.concat([
    Buffer.from(`*${parts.length}\r\n`),
    ...parts.flatMap((each) => [Buffer.from(`$${each.length}\r\n`), each, Buffer.from('\r\n')]),
  ]);
}

const mark = (at: number) => command('publish', MARK_CHANNEL, `${at}`);
const decoded = (piece: LogPiece) => decodePiece({ key: piece.name, ...piece }, Buffer.from(piece.content));

/** In pieces of random lengths. */
function torn(bytes: Buffer, random: SeededRandom): Buffer[] {
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length;) {
    const length = 1 + random.integer(random.pick([2, 30, 3_000]));
    pieces.push(bytes.subarray(at, at + length));
    at += length;
  }
  return pieces;
}

describe('commands in a stream', () => {
  test.each(seedsOfRounds(5))('are found wherever it is torn (seed %i)', (seed) => {
    const random = randomOf(seed);
    const words = () =>
      Array.from({ length: 1 + random.integer(5) }, () =>
        Buffer.alloc(random.pick([0, 1, 63, 64, 65, 5_000]), '\r\n*3$'),
      );
    const commands = Array.from({ length: 60 }, () => words());
    const scanner = new CommandScanner(1_000);
    const found: { from: number; to: number; words: readonly string[] }[] = [];
    for (const piece of torn(Buffer.concat(commands.map((each) => command(...each))), random)) {
      scanner.feed(piece, ({ from, to, words: said }) => found.push({ from, to, words: [...said] }));
    }
    let at = 1_000;
    const expected = commands.map((each) => {
      const from = at;
      at += command(...each).length;
      return { from, to: at, words: each.slice(0, 3).map((word) => (word.length > 64 ? '' : word.toString('latin1'))) };
    });
    expect(found).toEqual(expected);
    expect(scanner.offset).toBe(at);
  });

  test.each(['PING\r\n', '\n', '*1\r\n+PING\r\n', '*x\r\n'])('%j is none', (bytes) => {
    let thrown: unknown = null;
    try {
      new CommandScanner(0).feed(Buffer.from(bytes), () => undefined);
    } catch (error) {
      thrown = error;
    }
    expect(hasCode(thrown, 'BackupCorrupt')).toBe(true);
  });
});

describe('names of pieces', () => {
  const name = { from: 90, to: 1_000, coversUntil: 1_795_000_000_000, database: 3, digest: '0123abcd' };

  test('say what is in them, and sort as the stream does', () => {
    for (const kind of ['slice', 'segment'] as const) {
      const text = pieceName(name, kind);
      expect(readPieceName(text)).toEqual(name);
      expect(naming.read(LINEAGE, text)).toEqual({
        kind,
        from: redisPosition(LINEAGE, 90),
        to: redisPosition(LINEAGE, 1_000),
        coversUntil: new Date(1_795_000_000_000).toISOString(),
      });
    }
    const within = { ...name, coversUntil: null, database: null };
    expect(readPieceName(pieceName(within, 'slice'))).toEqual(within);
    const names = [9, 10, 100, 99_999_999_999].map((from) => pieceName({ ...name, from }, 'slice'));
    expect(names.toSorted()).toEqual(names);
    expect(naming.read(LINEAGE, '000000010000000000000001')).toBeNull();
  });
});

describe('slices', () => {
  const tail = { lineage: LINEAGE, offset: 500, database: 2, coversUntil: null };
  const begin = () => new SliceCollector(tail, 1_795_000_000_000);
  const all = (collector: SliceCollector) => {
    const pieces: LogPiece[] = [];
    for (let piece = collector.cut(); piece; piece = collector.cut()) pieces.push(piece);
    return pieces;
  };

  test('end between two commands and outside of transactions; the bytes are those of the server', () => {
    const collector = begin();
    const whole = Buffer.concat([command('SET', 'a', '1'), command('SELECT', '7'), mark(1_795_000_000_123)]);
    const rest = Buffer.concat([command('MULTI'), command('INCR', 'a'), command('EXEC')]);
    collector.add(Buffer.concat([whole, rest.subarray(0, rest.length - 1)]), 1_795_000_000_130);
    const [first, ...none] = all(collector);
    expect(none).toEqual([]);
    expect(readPieceName(first!.name)).toMatchObject({
      from: 500,
      to: 500 + whole.length,
      coversUntil: 1_795_000_000_122,
      database: 7,
    });
    expect(decoded(first!)).toMatchObject({ database: 2, resumedAt: 1_795_000_000_000, raw: whole });
    expect(decoded(first!).stamps).toEqual([{ offset: 500 + whole.length, at: 1_795_000_000_130 }]);
    expect(collector.lastCut.tail).toEqual({
      lineage: LINEAGE,
      offset: 500 + whole.length,
      database: 7,
      coversUntil: 1_795_000_000_122,
    });
    collector.add(rest.subarray(rest.length - 1), 1_795_000_000_135);
    expect(all(collector).map(decoded)).toMatchObject([{ database: 7, resumedAt: null, raw: rest }]);
  });

  test('of something large are parts, and what ends it is a piece by itself', () => {
    const collector = begin();
    const large = command('SET', 'large', Buffer.alloc(40 * 1024 * 1024));
    const after = command('SET', 'after', '1');
    const stream = Buffer.concat([command('SET', 'before', '1'), large, after]);
    const pieces: LogPiece[] = [];
    for (let at = 0; at < stream.length; at += 65_536) {
      collector.add(stream.subarray(at, at + 65_536), 1_795_000_000_000);
      pieces.push(...all(collector));
    }
    expect(Buffer.concat(pieces.map((each) => decoded(each).raw)).equals(stream)).toBe(true);
    const within = pieces.map((each) => readPieceName(each.name)!.database === null);
    expect(within).toEqual([false, true, true, false, false]);
    expect(pieces.map((each) => decoded(each).database)).toEqual([2, 2, null, null, 2]);
    expect(offsetOf(pieces[3]!.to)).toBe(500 + stream.length - after.length);
  });

  test('with other content than their name says are refused', () => {
    const collector = begin();
    collector.add(command('SET', 'a', '1'), 1_795_000_000_000);
    const piece = collector.cut()!;
    for (const content of [
      Buffer.alloc(0),
      Buffer.from(piece.content).subarray(1),
      Buffer.from(piece.content).subarray(0, -1),
    ]) {
      let thrown: unknown = null;
      try {
        decodePiece({ key: piece.name, ...piece }, content);
      } catch (error) {
        thrown = error;
      }
      expect(hasCode(thrown, 'BackupCorrupt')).toBe(true);
    }
  });
});
