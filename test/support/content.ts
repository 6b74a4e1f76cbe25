import { createHash } from 'node:crypto';
import { seededBytes } from './random';

const nextBytes = seededBytes();

/** Base64 of these has no padding, so that many tokens can be encoded at once. */
const TOKEN_BYTES = 36;
const TOKEN_CHARACTERS = 48;
/** A row is longer. */
const ROW_BYTES = 100;

/** Rows as a shop has them, others at each call: about half of it compresses away with zstd 3. */
export function shopRows(sizeBytes: number): Buffer {
  // All of them at once: to ask the cipher for each takes ten times as long as the rest.
  const tokens = nextBytes(TOKEN_BYTES * Math.ceil(sizeBytes / ROW_BYTES)).toString('base64');
  const content = Buffer.alloc(sizeBytes);
  for (let id = 0, length = 0; length < sizeBytes; id += 1) {
    const token = tokens.slice(TOKEN_CHARACTERS * id, TOKEN_CHARACTERS * (id + 1));
    const row = `{"id":${id},"sku":"SKU-${id % 9973}","token":"${token}","note":"ordered in the shop"}\n`;
    length += content.write(row, length, 'latin1');
  }
  return content;
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export async function collect(stream: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
