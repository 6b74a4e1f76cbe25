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

export function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export async function collect(stream: AsyncIterable<Buffer | string>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}
