import { type ClientSession, type Document, Long, type MongoClient } from 'mongodb';
import { compactDocuments, fieldNamed, fieldsOf } from './bson-bytes';

/** Documents as they lie in the server's reply, one after the other, undecoded. */
export interface RawBatch {
  readonly documents: Buffer;
  readonly count: number;
}

/**
 * How much to ask for at once. Replies of the server's 16 MB are no faster and take a hundred MB of memory, because a reply
 * is gathered, joined and handed on while the next one arrives.
 */
const BATCH_BYTES = 4 * 1024 * 1024;
const FIRST_BATCH_DOCUMENTS = 1_000;

/**
 * Runs `find` and yields whole batches without decoding a document. The next batch is on its way while the caller works on
 * this one. The cursor is closed when the caller stops early. Nothing is yielded for an empty result.
 */
export async function* rawBatches(client: MongoClient, database: string, find: Document): AsyncGenerator<RawBatch> {
  const db = client.db(database);
  // The server ties a cursor to the session that opened it.
  const session: ClientSession = client.startSession();
  const run = async (command: Document) =>
    cursorOf((await db.command(command, { raw: true, session }))['cursor'] as Uint8Array);
  let ahead: Promise<Reply> | null = run({ ...find, batchSize: FIRST_BATCH_DOCUMENTS });
  try {
    while (ahead) {
      const reply: Reply = await ahead;
      ahead = null;
      if (!reply.id.isZero()) {
        ahead = run({ getMore: reply.id, collection: reply.collection, batchSize: documentsFor(reply) });
        ahead.catch(() => {}); // thrown by the await above, or of no interest to a caller that stopped
      }
      if (reply.count > 0) yield { documents: reply.documents, count: reply.count };
    }
  } finally {
    // A cursor serves one command at a time, and a failed getMore closes it.
    const rest: Reply | null = ahead ? await ahead.catch(() => null) : null;
    if (rest && !rest.id.isZero()) {
      await db.command({ killCursors: rest.collection, cursors: [rest.id] }, { session }).catch(() => null); // it times out by itself
    }
    await session.endSession();
  }
}

function documentsFor({ documents, count }: RawBatch): number {
  return count === 0 ? FIRST_BATCH_DOCUMENTS : Math.max(1, Math.floor((BATCH_BYTES * count) / documents.length));
}

interface Reply extends RawBatch {
  readonly id: Long;
  readonly collection: string;
}

function cursorOf(raw: Uint8Array): Reply {
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
