import { createCipheriv } from 'node:crypto';
import { Binary, Decimal128, type Document, Long, type MongoClient } from 'mongodb';
import { DATABASE } from './replica-set';

/** So many hexadecimal digits that were never there before. */
type Digits = (length: number) => string;

/** A kind of document and the share of all bytes that it has. */
interface Kind {
  readonly collection: string;
  readonly share: number;
  /** About, as BSON. */
  readonly sizeBytes: number;
  readonly indexes: readonly Record<string, 1 | -1>[];
  readonly make: (id: number, digits: Digits) => Document;
}

const BATCH_BYTES = 4e6;
const LARGE_DOCUMENT_BYTES = 16e6;

/** Small, medium and large documents, as a shop has them: orders, products with their descriptions, scanned papers. */
const MIXED: readonly Kind[] = [
  {
    collection: 'orders',
    share: 0.3,
    sizeBytes: 420,
    indexes: [{ customer: 1, at: -1 }, { state: 1 }],
    make: (id, digits) => ({
      _id: id,
      customer: Long.fromNumber((id * 7_919) % 100_003),
      at: new Date(1_700_000_000_000 + id * 1_000),
      state: ['new', 'paid', 'sent', 'done'][id % 4],
      total: Decimal128.fromString(`${id % 1_000}.${id % 10}9`),
      lines: [1, 2, 3].map((line) => ({ sku: digits(24), count: line, price: (id % 97) + 0.99 })),
      note: words(id, 60),
    }),
  },
  {
    collection: 'products',
    share: 0.5,
    sizeBytes: 3_100,
    indexes: [{ sku: 1 }, { tags: 1 }],
    make: (id, digits) => ({
      _id: `product-${id}`,
      sku: digits(24),
      tags: [`tag-${id % 50}`, `tag-${id % 77}`],
      // Integer-like keys and nesting: what a person's data looks like.
      attributes: { '10': id, '9': -id, weight: id / 7, sizes: Array.from({ length: 20 }, (_, size) => size * id) },
      text: digits(1_400) + words(id, 1_200),
    }),
  },
  {
    collection: 'papers',
    share: 0.2,
    sizeBytes: 250_000,
    indexes: [{ of: 1 }],
    make: (id, digits) => ({
      _id: id,
      of: id % 1_000,
      scan: new Binary(Buffer.from(digits(125_000) + words(id, 125_000))),
    }),
  },
];

/** Writes about so many bytes of mixed documents, the same ones every time, and their indexes. */
export async function fillMixed(client: MongoClient, sizeBytes: number): Promise<void> {
  for (const kind of MIXED) {
    await fill(client, kind, sizeBytes * kind.share);
    for (const keys of kind.indexes) await client.db(DATABASE).collection(kind.collection).createIndex(keys);
  }
}

/** Writes about so many bytes of documents that are nearly as large as one may be. */
export function fillLarge(client: MongoClient, sizeBytes: number): Promise<void> {
  const half = LARGE_DOCUMENT_BYTES / 2;
  const make: Kind['make'] = (id, digits) => ({
    _id: id,
    scan: new Binary(Buffer.from(digits(half) + words(id, half))),
  });
  const kind = { collection: 'scans', share: 1, sizeBytes: LARGE_DOCUMENT_BYTES, indexes: [], make };
  return fill(client, kind, sizeBytes);
}

async function fill(client: MongoClient, { collection, sizeBytes, make }: Kind, bytes: number): Promise<void> {
  const into = client.db(DATABASE).collection<{ _id: never }>(collection);
  const [documents, batch] = [Math.ceil(bytes / sizeBytes), Math.max(1, Math.floor(BATCH_BYTES / sizeBytes))];
  const digits = newDigits();
  for (let from = 0; from < documents; from += batch) {
    const count = Math.min(batch, documents - from);
    const made = Array.from({ length: count }, (_, index) => make(from + index, digits) as { _id: never });
    await into.insertMany(made, { ordered: false, writeConcern: { w: 'majority', j: false } });
  }
}

/** The same ones each time, as fast as a cipher is. With as many words a document compresses to about a quarter, as business data does. */
function newDigits(): Digits {
  const stream = createCipheriv('aes-128-ctr', Buffer.alloc(16), Buffer.alloc(16));
  return (length) => stream.update(Buffer.alloc(length / 2)).toString('hex');
}

function words(id: number, length: number): string {
  return `ultramarket order ${id % 100} `.repeat(Math.ceil(length / 20)).slice(0, length);
}
