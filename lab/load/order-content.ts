import { createHash } from 'node:crypto';
import { seededSku, type OrderContent } from '../shop/orders';

/** The products that createSchema seeds unless told otherwise. */
const PRODUCTS = 200;

/** The seq-th order of a seed: the same id and content wherever and whenever it is asked for. */
export function orderOf(seed: string, seq: number): OrderContent {
  const digest = createHash('sha512').update(`${seed}:${seq}`).digest();
  const items = Array.from({ length: 1 + (digest.readUInt8(16) % 4) }, (_, line) => ({
    sku: seededSku(1 + (digest.readUInt16BE(20 + 6 * line) % PRODUCTS)),
    quantity: 1 + (digest.readUInt8(22 + 6 * line) % 5),
    priceCents: 100 + (digest.readUInt16BE(24 + 6 * line) % 20_000),
  }));
  return {
    id: uuidOf(digest),
    customer: `customer-${seed}-${digest.readUInt8(17)}`,
    items,
    amountCents: items.reduce((sum, { quantity, priceCents }) => sum + quantity * priceCents, 0),
  };
}

/** SHA-256 of the content in a fixed order of fields: equal digests are equal orders. */
export function contentDigest({ id, customer, items, amountCents }: OrderContent): string {
  const lines = items.map(({ sku, quantity, priceCents }) => [sku, quantity, priceCents]);
  return createHash('sha256')
    .update(JSON.stringify([id, customer, lines, amountCents]))
    .digest('hex');
}

/** A UUID of version 8, the one for ids made by a rule of one's own (RFC 9562 §5.8). */
function uuidOf(digest: Buffer): string {
  const bytes = Buffer.from(digest.subarray(0, 16));
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x80, 6);
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8);
  return bytes.toString('hex').replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
