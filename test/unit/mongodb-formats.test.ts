import { BSON, Long } from 'mongodb';
import { compactDocuments, documentsIn, fieldsOf } from '../../adapters/engines/mongodb/bson-bytes';
import { Crc64 } from '../../adapters/engines/mongodb/crc64';
import {
  naming,
  optimeOf,
  positionOf,
  positions,
  segmentName,
  sliceName,
} from '../../adapters/engines/mongodb/positions';
import { hasCode } from '../../core/errors';

describe('CRC-64/XZ', () => {
  const crcOf = (...parts: Buffer[]) => {
    const crc = new Crc64();
    for (const part of parts) crc.update(part);
    return BigInt.asUintN(64, crc.digest());
  };

  test('gives the check value of the catalogue of CRC algorithms', () => {
    expect(crcOf(Buffer.from('123456789'))).toBe(0x995dc9bbdf1939fan);
    expect(crcOf()).toBe(0n);
  });

  test('is the same however the bytes are cut', () => {
    const bytes = Buffer.from(Array.from({ length: 1_003 }, (_, index) => (index * 7_919) & 255));
    let plain = 0xffffffffffffffffn;
    for (const byte of bytes) {
      plain ^= BigInt(byte);
      for (let bit = 0; bit < 8; bit++) plain = plain & 1n ? (plain >> 1n) ^ 0xc96c5795d7870f42n : plain >> 1n;
    }
    plain ^= 0xffffffffffffffffn;
    for (const at of [0, 1, 7, 8, 9, 500, 1_003]) expect(crcOf(bytes.subarray(0, at), bytes.subarray(at))).toBe(plain);
  });
});

describe('BSON where it lies', () => {
  test('finds the fields of every type', () => {
    const all = {
      double: 1.5,
      string: 'é',
      document: { a: 1 },
      array: [1, 'x'],
      binary: new BSON.Binary(Buffer.from('abc')),
      id: new BSON.ObjectId(),
      yes: true,
      date: new Date(0),
      nothing: null,
      regex: /a+b/i,
      code: new BSON.Code('f()'),
      scoped: new BSON.Code('f()', { x: 1 }),
      int: 3,
      timestamp: new BSON.Timestamp({ t: 4, i: 5 }),
      long: Long.fromString('9007199254740993'),
      decimal: BSON.Decimal128.fromString('1.25'),
      min: new BSON.MinKey(),
      max: new BSON.MaxKey(),
      last: 'end',
    };
    const bytes = Buffer.from(BSON.serialize(all));
    const fields = fieldsOf(bytes);
    expect(fields.map(({ name }) => name)).toEqual(Object.keys(all));
    expect(fields.at(-1)?.endAt).toBe(bytes.length - 1);
  });

  test('moves the documents of an array together, unchanged', () => {
    const documents = Array.from({ length: 1_200 }, (_, index) => ({ _id: index, text: 'x'.repeat(index % 40) }));
    const bytes = Buffer.from(BSON.serialize({ batch: documents }));
    const found = compactDocuments(bytes, fieldsOf(bytes)[0]?.valueAt as number);
    expect(found.count).toBe(1_200);
    expect([...documentsIn(found.documents)].map((each) => BSON.deserialize(each))).toEqual(documents);
  });
});

describe('optimes', () => {
  test('are read, written and ordered', () => {
    const position = positions.parse(' 1763800000:3 ', 'set/1');
    expect(position).toEqual({ engine: 'mongodb', lineage: 'set/1', value: '1763800000:3' });
    expect(positions.format(position)).toBe('1763800000:3');
    expect(positions.compare(position, positions.parse('1763800000:20', 'set/1'))).toBeLessThan(0);
    expect(positions.compare(position, position)).toBe(0);
    for (const wrong of ['', '1763800000', '1:2:3', 'a:b', '-1:2']) {
      expect(() => positions.parse(wrong, 'set/1')).toThrow(/not an optime/);
    }
    let refused: unknown = null;
    try {
      positions.compare(position, positions.parse('1763800000:3', 'set/2'));
    } catch (error) {
      refused = error;
    }
    expect(hasCode(refused, 'UsageInvalid')).toBe(true);
  });

  test('a slice is named by where it leads from and to, in log order', () => {
    const [from, to] = [
      optimeOf(positionOf({ seconds: 1_763_800_000, increment: 9 }, 'l')),
      { seconds: 1_763_800_000, increment: 10 },
    ];
    const names = [sliceName(to, { seconds: 1_763_800_001, increment: 1 }), sliceName(from, to)];
    expect(names.toSorted()).toEqual(names.toReversed());
    expect(naming.read('l', sliceName(from, to))).toMatchObject({
      kind: 'slice',
      from: positionOf(from, 'l'),
      to: positionOf(to, 'l'),
    });
    expect(naming.read('l', 'something-else')).toBeNull();
  });

  test('a segment is named by its range as well, and lies where its first slice lay', () => {
    const at = (increment: number) => ({ seconds: 1_763_800_000, increment });
    const segment = segmentName(at(5), at(900));
    expect(naming.read('l', segment)).toEqual({
      kind: 'segment',
      from: positionOf(at(5), 'l'),
      to: positionOf(at(900), 'l'),
      coversUntil: null,
    });
    const before = sliceName(at(1), at(5));
    const behind = sliceName(at(900), at(901));
    expect([behind, segment, before].toSorted()).toEqual([before, segment, behind]);
    expect([sliceName(at(10), at(20)), segment].toSorted()[0]).toBe(segment);
  });
});
