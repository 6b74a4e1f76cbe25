/**
 * CRC-64/XZ (reflected ECMA-182 polynomial), the checksum of mongodump's archives (Go: `crc64.New(MakeTable(ECMA))`).
 * Each 64-bit value is two 32-bit halves, because BigInt arithmetic is some forty times slower; eight bytes a step.
 */
const POLYNOMIAL_HIGH = 0xc96c5795;
const POLYNOMIAL_LOW = 0xd7870f42;

const [TABLE_HIGH, TABLE_LOW] = makeTables();

function makeTables(): [Uint32Array, Uint32Array] {
  const high = new Uint32Array(8 * 256);
  const low = new Uint32Array(8 * 256);
  for (let byte = 0; byte < 256; byte++) {
    let [h, l] = [0, byte];
    for (let bit = 0; bit < 8; bit++) {
      const carry = l & 1;
      l = ((l >>> 1) | (h << 31)) >>> 0;
      h >>>= 1;
      if (carry) [h, l] = [(h ^ POLYNOMIAL_HIGH) >>> 0, (l ^ POLYNOMIAL_LOW) >>> 0];
    }
    [high[byte], low[byte]] = [h, l];
  }
  for (let index = 256; index < 8 * 256; index++) {
    const [h, l] = [high[index - 256] as number, low[index - 256] as number];
    const next = l & 0xff;
    low[index] = ((l >>> 8) | (h << 24)) ^ (low[next] as number);
    high[index] = (h >>> 8) ^ (high[next] as number);
  }
  return [high, low];
}

export class Crc64 {
  private high = 0xffffffff;
  private low = 0xffffffff;

  update(bytes: Buffer): void {
    const [th, tl] = [TABLE_HIGH, TABLE_LOW];
    const data: Uint8Array = bytes;
    let [high, low] = [this.high, this.low];
    let at = 0;
    for (const last = bytes.length - 7; at < last; at += 8) {
      const a = low ^ (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24));
      const b = high ^ (data[at + 4]! | (data[at + 5]! << 8) | (data[at + 6]! << 16) | (data[at + 7]! << 24));
      const [i0, i1, i2, i3] = [
        1792 + (a & 255),
        1536 + ((a >>> 8) & 255),
        1280 + ((a >>> 16) & 255),
        1024 + (a >>> 24),
      ];
      const [i4, i5, i6, i7] = [768 + (b & 255), 512 + ((b >>> 8) & 255), 256 + ((b >>> 16) & 255), b >>> 24];
      low = tl[i0]! ^ tl[i1]! ^ tl[i2]! ^ tl[i3]! ^ tl[i4]! ^ tl[i5]! ^ tl[i6]! ^ tl[i7]!;
      high = th[i0]! ^ th[i1]! ^ th[i2]! ^ th[i3]! ^ th[i4]! ^ th[i5]! ^ th[i6]! ^ th[i7]!;
    }
    for (; at < bytes.length; at++) {
      const index = (low ^ data[at]!) & 255;
      low = ((low >>> 8) | (high << 24)) ^ tl[index]!;
      high = (high >>> 8) ^ th[index]!;
    }
    [this.high, this.low] = [high, low];
  }

  /** As the signed 64-bit integer that an archive's header holds. */
  digest(): bigint {
    const high = BigInt((this.high ^ 0xffffffff) >>> 0);
    const low = BigInt((this.low ^ 0xffffffff) >>> 0);
    return BigInt.asIntN(64, (high << 32n) | low);
  }
}
