import { createHash } from 'node:crypto';
import { seededBytes } from './random';

const nextBytes = seededBytes();

/** Rows as a shop has them, others at each call: about half of it compresses away with zstd 3. */
export function shopRows(sizeBytes: number): Buffer {
  const token = () => nextBytes(36).toString('base64');
  const row = (id: number) =>
    `{"id":${id},"sku":"SKU-${id % 9973}","token":"${token()}","note":"ordered in the shop"}\n`;
  const rows: string[] = [];
  for (let id = 0, length = 0; length < sizeBytes; id += 1) {
    rows.push(row(id));
    length += rows.at(-1)!.length;
  }
  return Buffer.from(rows.join('')).subarray(0, sizeBytes);
}

/** The same 16 MiB again and again, each time with another mark, until `sizeBytes` are out; constant memory. */
export function* shopRowsOfSize(sizeBytes: number): Generator<Buffer> {
  const block = shopRows(Math.min(sizeBytes, 16 * 2 ** 20));
  for (let sent = 0; sent < sizeBytes;) {
    const chunk = Buffer.from(block.subarray(0, Math.min(256 * 1024, sizeBytes - sent)));
    chunk.write(`block ${sent}\n`);
    const from = sent % Math.max(1, block.length - chunk.length);
    block.copy(chunk, 20, from, from + Math.max(0, chunk.length - 20));
    sent += chunk.length;
    yield chunk;
  }
}

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export async function collect(stream: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
