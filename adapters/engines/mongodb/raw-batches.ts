import { type ClientSession, type Document, Long, type MongoClient } from 'mongodb';
import { compactDocuments, fieldNamed, fieldsOf } from './bson-bytes';

/** Documents as they lie in the server's reply, one after the other, undecoded; up to 16 MB. */
export interface RawBatch {
  readonly documents: Buffer;
  readonly count: number;
}

/**
 * Runs `find` and yields whole batches without decoding a document: one cursor gives some 180 MB/s where decoding gives 50.
 * The cursor is closed when the caller stops early. Nothing is yielded for an empty result.
 */
export async function* rawBatches(client: MongoClient, database: string, find: Document): AsyncGenerator<RawBatch> {
  const db = client.db(database);
  // The server ties a cursor to the session that opened it.
  const session: ClientSession = client.startSession();
  let open: { id: Long; collection: string } | null = null;
  try {
    // The limit of a batch is then the reply's 16 MB; by default a first batch is 101 documents.
    let reply = await db.command({ ...find, batchSize: 1_000_000 }, { raw: true, session });
    for (;;) {
      const cursor = cursorOf(reply['cursor'] as Uint8Array);
      open = cursor.id.isZero() ? null : { id: cursor.id, collection: cursor.collection };
      if (cursor.count > 0) yield { documents: cursor.documents, count: cursor.count };
      if (open === null) return;
      reply = await db.command({ getMore: open.id, collection: open.collection }, { raw: true, session });
    }
  } catch (error) {
    open = null; // the server closes the cursor of a failed getMore
    throw error;
  } finally {
    if (open !== null)
      await db.command({ killCursors: open.collection, cursors: [open.id] }, { session }).catch(() => null);
    await session.endSession();
  }
}

function cursorOf(raw: Uint8Array): RawBatch & { id: Long; collection: string } {
  const bytes = Buffer.from(raw.buffer, raw.byteOffset, raw.byteLength);
  const fields = fieldsOf(bytes);
  const id = fieldNamed(fields, 'id');
  const namespace = fieldNamed(fields, 'ns');
  const batch = fieldNamed(fields, 'firstBatch') ?? fieldNamed(fields, 'nextBatch');
  if (!id || !namespace || !batch) throw new Error('the reply to find has no cursor');
  const name = bytes.toString('utf8', namespace.valueAt + 4, namespace.endAt - 1);
  return {
    id: Long.fromBigInt(bytes.readBigInt64LE(id.valueAt)),
    collection: name.slice(name.indexOf('.') + 1),
    ...compactDocuments(bytes, batch.valueAt),
  };
}
