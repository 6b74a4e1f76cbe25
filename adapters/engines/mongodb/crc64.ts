import { compileCrc64, type Crc64Module, TABLE_BYTES, TABLES } from './crc64-module';

/** CRC-64/XZ (reflected ECMA-182 polynomial), the checksum of mongodump's archives (Go: `crc64.New(MakeTable(ECMA))`). */
const POLYNOMIAL = 0xc96c5795d7870f42n;
const TABLE_WORDS = TABLE_BYTES / 8;
const TABLES_BYTES = TABLES * TABLE_BYTES;

/** Compiled when it is needed first; each call is over before the next begins, so that one is enough for all. */
let compiled: Crc64Module | null = null;

function crc64(): Crc64Module {
  if (compiled) return compiled;
  compiled = compileCrc64();
  const words = new BigUint64Array(compiled.memory.buffer, 0, TABLES_BYTES / 8);
  for (let byte = 0; byte < TABLE_WORDS; byte += 1) {
    let word = BigInt(byte);
    for (let bit = 0; bit < 8; bit += 1) word = word & 1n ? (word >> 1n) ^ POLYNOMIAL : word >> 1n;
    words[byte] = word;
  }
  for (let index = TABLE_WORDS; index < words.length; index += 1) {
    const before = words[index - TABLE_WORDS] as bigint;
    words[index] = (words[Number(before & 255n)] as bigint) ^ (before >> 8n);
  }
  return compiled;
}

export class Crc64 {
  private crc = -1n;

  update(bytes: Uint8Array): void {
    const { memory, by16, by1 } = crc64();
    const room = memory.length - TABLES_BYTES;
    for (let at = 0; at < bytes.length; at += room) {
      const part = bytes.subarray(at, at + room);
      memory.set(part, TABLES_BYTES);
      const whole = TABLES_BYTES + (part.length & ~15);
      this.crc = by1(by16(this.crc, TABLES_BYTES, whole), whole, TABLES_BYTES + part.length);
    }
  }

  /** As the signed 64-bit integer that an archive's header holds. */
  digest(): bigint {
    return BigInt.asIntN(64, ~this.crc);
  }
}
