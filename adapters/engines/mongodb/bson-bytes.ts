import { failure } from '../../../core/errors';

/**
 * BSON read where it lies. Dumps, the log and restores move documents that they must not change, and decoding would change
 * some: a JavaScript object moves keys that look like integers to the front.
 */

export const BSON = {
  double: 0x01,
  string: 0x02,
  document: 0x03,
  array: 0x04,
  binary: 0x05,
  boolean: 0x08,
  date: 0x09,
  int32: 0x10,
  timestamp: 0x11,
  int64: 0x12,
} as const;

/** One field of a document: where its element begins, where its value begins, where both end. */
export interface Field {
  readonly type: number;
  readonly name: string;
  readonly elementAt: number;
  readonly valueAt: number;
  readonly endAt: number;
}

/** The fields of the document that begins at `at`, in order. */
export function fieldsOf(bytes: Buffer, at = 0): Field[] {
  const fields: Field[] = [];
  const last = at + bytes.readInt32LE(at) - 1;
  for (let elementAt = at + 4; elementAt < last;) {
    const type = bytes[elementAt] as number;
    const nameEnd = bytes.indexOf(0, elementAt + 1);
    const valueAt = nameEnd + 1;
    const endAt = valueAt + valueBytes(type, bytes, valueAt);
    fields.push({ type, name: bytes.toString('latin1', elementAt + 1, nameEnd), elementAt, valueAt, endAt });
    elementAt = endAt;
  }
  return fields;
}

export function fieldNamed(fields: readonly Field[], name: string): Field | undefined {
  return fields.find((field) => field.name === name);
}

/** The bytes of a document or array value. */
export function valueOf(bytes: Buffer, field: Field): Buffer {
  return bytes.subarray(field.valueAt, field.endAt);
}

export function stringOf(bytes: Buffer, field: Field): string {
  return bytes.toString('utf8', field.valueAt + 4, field.endAt - 1);
}

export function dateOf(bytes: Buffer, field: Field): number {
  return Number(bytes.readBigInt64LE(field.valueAt));
}

/** How many bytes a value takes (bsonspec.org, version 1.1). */
function valueBytes(type: number, bytes: Buffer, at: number): number {
  switch (type) {
    case 0x01: // double
    case 0x09: // date
    case 0x11: // timestamp
    case 0x12: // int64
      return 8;
    case 0x02: // string
    case 0x0d: // code
    case 0x0e: // symbol
      return 4 + bytes.readInt32LE(at);
    case 0x03: // document
    case 0x04: // array
    case 0x0f: // code with scope
      return bytes.readInt32LE(at);
    case 0x05: // binary
      return 5 + bytes.readInt32LE(at);
    case 0x06: // undefined
    case 0x0a: // null
    case 0xff: // min key
    case 0x7f: // max key
      return 0;
    case 0x07: // object id
      return 12;
    case 0x08: // boolean
      return 1;
    case 0x0b: // regular expression: two C strings
      return bytes.indexOf(0, bytes.indexOf(0, at) + 1) + 1 - at;
    case 0x0c: // DBPointer
      return 4 + bytes.readInt32LE(at) + 12;
    case 0x10: // int32
      return 4;
    case 0x13: // decimal128
      return 16;
    default:
      throw failure('BackupCorrupt', `a BSON document holds an unknown element type 0x${type.toString(16)}`);
  }
}

/**
 * The documents of a BSON array of documents, moved together at the front of the same memory: what a stored block and an
 * insert want. `at` is where the array begins. Returns the part that holds them, and how many there are.
 */
export function compactDocuments(bytes: Buffer, at: number): { readonly documents: Buffer; readonly count: number } {
  const last = at + bytes.readInt32LE(at) - 1;
  let writeAt = at;
  let count = 0;
  for (let elementAt = at + 4; elementAt < last;) {
    const valueAt = bytes.indexOf(0, elementAt + 1) + 1;
    const endAt = valueAt + bytes.readInt32LE(valueAt);
    bytes.copyWithin(writeAt, valueAt, endAt);
    writeAt += endAt - valueAt;
    count += 1;
    elementAt = endAt;
  }
  return { documents: bytes.subarray(at, writeAt), count };
}

/** Where each of the concatenated documents begins. */
export function* documentsIn(bytes: Buffer): Generator<Buffer> {
  for (let at = 0; at < bytes.length;) {
    const endAt = at + bytes.readInt32LE(at);
    yield bytes.subarray(at, endAt);
    at = endAt;
  }
}

/** A document made of elements that are bytes already. */
export function documentOf(elements: readonly Buffer[]): Buffer {
  const length = elements.reduce((sum, each) => sum + each.length, 5);
  const document = Buffer.allocUnsafe(length);
  document.writeInt32LE(length, 0);
  let at = 4;
  for (const each of elements) at += each.copy(document, at);
  document[at] = 0;
  return document;
}

/** An element: type, name, value. */
export function elementOf(type: number, name: string, value: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type), Buffer.from(`${name}\0`), value]);
}

export function stringElement(name: string, text: string): Buffer {
  const value = Buffer.from(`${text}\0`);
  const length = Buffer.alloc(4);
  length.writeInt32LE(value.length);
  return elementOf(BSON.string, name, Buffer.concat([length, value]));
}
