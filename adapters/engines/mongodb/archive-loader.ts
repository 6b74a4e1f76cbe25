import { BSON as Bson, type Document, type MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { ArchivedNamespace } from './archive-writer';
import { BSON, documentOf, documentsIn, elementOf, stringElement } from './bson-bytes';
import type { IndexCatalog } from './index-catalog';
import { WireConnection } from './wire';

/** Three inserts at a time keep the server's two cores busy; each waits with at most 8 MB. */
const CONNECTIONS = 3;
const INSERT_BYTES = 8 * 1024 * 1024;
/** The server's own limit. */
const INSERT_DOCUMENTS = 100_000;
const DUPLICATE_KEY = 11000;

/**
 * Creates collections and views as the archive's head describes them, and notes their indexes for later. Returns the names of
 * those whose order is their content: in a capped collection it is the order of reading, and of going.
 */
export async function createNamespaces(
  client: MongoClient,
  namespaces: readonly ArchivedNamespace[],
  indexes: IndexCatalog,
): Promise<ReadonlySet<string>> {
  const inOrder = new Set<string>();
  for (const { db, collection, metadata } of namespaces) {
    if (metadata === '' || (db === 'admin' && collection.startsWith('system.'))) continue;
    const { options = {}, indexes: specs = [] } = Bson.EJSON.parse(metadata, { relaxed: false }) as {
      options?: Document;
      indexes?: Document[];
    };
    await client.db(db).command({ create: collection, ...options });
    await indexes.add(db, collection, specs);
    if (options['capped'] !== undefined) inOrder.add(`${db}.${collection}`);
  }
  return inOrder;
}

/** Inserts the documents of an archive as they are, several collections and batches at a time. */
export class ArchiveLoader {
  /** Of these one batch after the other. */
  inOrder: ReadonlySet<string> = new Set();
  private readonly free: WireConnection[];
  private readonly all: readonly WireConnection[];
  private readonly ctx: CallContext;
  private readonly gathered = new Map<string, { db: string; collection: string; parts: Buffer[]; bytes: number }>();
  private readonly running = new Map<Promise<void>, string>();
  private broken: unknown = null;
  private doneBytes = 0;

  private constructor(connections: readonly WireConnection[], ctx: CallContext) {
    this.all = connections;
    this.free = [...connections];
    this.ctx = ctx;
  }

  static async open(address: { host: string; port: number }, ctx: CallContext): Promise<ArchiveLoader> {
    return new ArchiveLoader(
      await Promise.all(Array.from({ length: CONNECTIONS }, () => WireConnection.open(address, ctx.signal))),
      ctx,
    );
  }

  async add(db: string, collection: string, documents: Buffer): Promise<void> {
    const key = `${db}.${collection}`;
    const held = this.gathered.get(key) ?? { db, collection, parts: [], bytes: 0 };
    this.gathered.set(key, held);
    held.parts.push(documents);
    held.bytes += documents.length;
    if (held.bytes >= INSERT_BYTES) await this.flush(key);
  }

  /** What is held of a collection that has no more: of thousands of small ones it would be more than the memory. */
  async end(db: string, collection: string): Promise<void> {
    await this.flush(`${db}.${collection}`);
  }

  /** Resolves when everything given so far is in the server. */
  async finish(): Promise<void> {
    for (const key of this.gathered.keys()) await this.flush(key);
    await Promise.all(this.running.keys());
    if (this.broken) throw this.broken;
  }

  close(): void {
    for (const connection of this.all) connection.close();
  }

  private async flush(key: string): Promise<void> {
    const held = this.gathered.get(key);
    this.gathered.delete(key);
    if (!held) return;
    const hasToWait = () => this.inOrder.has(key) && [...this.running.values()].includes(key);
    while (this.free.length === 0 || hasToWait()) await Promise.race(this.running.keys());
    if (this.broken) throw this.broken;
    this.ctx.signal.throwIfAborted();
    const connection = this.free.pop() as WireConnection;
    const insert: Promise<void> = insertRaw(connection, held.db, held.collection, held.parts)
      .catch((error: unknown) => void (this.broken ??= error))
      .finally(() => {
        this.free.push(connection);
        this.running.delete(insert);
      });
    this.running.set(insert, key);
    this.doneBytes += held.bytes;
    this.ctx.progress({ phase: 'loading documents', doneBytes: this.doneBytes, note: key });
  }
}

async function insertRaw(
  connection: WireConnection,
  db: string,
  collection: string,
  parts: readonly Buffer[],
): Promise<void> {
  const body = documentOf([
    stringElement('insert', collection),
    elementOf(BSON.boolean, 'ordered', Buffer.of(0)),
    elementOf(BSON.boolean, 'bypassDocumentValidation', Buffer.of(1)),
    stringElement('$db', db),
  ]);
  for (const documents of insertable(db, collection, parts)) {
    const reply = await connection.command(body, { name: 'documents', documents });
    if (reply['ok'] !== 1)
      throw failure(
        'VerificationFailed',
        `the restored MongoDB server refused documents of ${db}.${collection}: ${reply['errmsg']}`,
      );
    // A document deleted and inserted again while the dump ran was read twice; the dump's oplog holds its true state.
    const errors = ((reply['writeErrors'] ?? []) as Document[]).filter(({ code }) => code !== DUPLICATE_KEY);
    if (errors[0])
      throw failure(
        'VerificationFailed',
        `the restored MongoDB server refused a document of ${db}.${collection}: ${errors[0]['errmsg']}`,
      );
  }
}

/** As many as the server takes at once, as they lie together in memory; of `admin.system.version` only the users' schema. */
function* insertable(db: string, collection: string, parts: readonly Buffer[]): Generator<Buffer[]> {
  const isVersion = db === 'admin' && collection === 'system.version';
  let [batch, count]: [Buffer[], number] = [[], 0];
  for (const part of isVersion ? parts.flatMap(aboutUsers) : parts) {
    let from = 0;
    for (let at = 0; at < part.length;) {
      at += part.readInt32LE(at);
      count += 1;
      if (count < INSERT_DOCUMENTS && at < part.length) continue;
      batch.push(part.subarray(from, at));
      from = at;
      if (count < INSERT_DOCUMENTS) continue;
      yield batch;
      [batch, count] = [[], 0];
    }
  }
  if (batch.length > 0) yield batch;
}

function aboutUsers(documents: Buffer): Buffer[] {
  return [...documentsIn(documents)].filter((each) => Bson.deserialize(each)['_id'] === 'authSchema');
}
