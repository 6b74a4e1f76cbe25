import { BSON as Bson, type Document, type MongoClient, Timestamp } from 'mongodb';
import { failure } from '../../../core/errors';
import {
  BSON,
  compactDocuments,
  documentOf,
  documentsIn,
  elementOf,
  fieldNamed,
  fieldsOf,
  stringElement,
  stringOf,
  valueOf,
} from './bson-bytes';
import { IndexCatalog, RESTORE_DATABASE } from './index-catalog';
import { movedElement } from './moved-change';
import { commandName, type OplogEntry, optimeAt, optimeFrom, timestampOf } from './oplog';
import { OpenTransactions } from './open-transactions';
import { compareOptimes, type Optime } from './positions';
import { isForeign, isReplayable } from './replayable';
import { databaseIn, type SelectedPart } from './selection';
import type { WireConnection } from './wire';

/** applyOps is one document of at most 16 MB; the rest of it is room for one more entry's headers. */
const BATCH_BYTES = 8 * 1024 * 1024;
const BATCH_OPERATIONS = 5_000;

/**
 * Applies oplog entries to a restored server. Each entry takes effect once: the position reached is written in the same
 * batch, behind the entries, and the server's journal keeps their order, so that after a crash of either side the replay goes
 * on from there; entries of the batch that was under way are applied again, which for inserts, updates and deletes by `_id`
 * without other indexes changes nothing. A command (DDL) is a batch of its own and looks first whether it was done.
 *
 * `fuzzy` is on for the oplog of a dump: the copy is then newer than the entries, so entries for collections that were
 * dropped later are left out.
 */
export class OplogApplier {
  readonly indexes: IndexCatalog;
  private readonly client: MongoClient;
  private readonly wire: WireConnection;
  private readonly transactions: OpenTransactions;
  private readonly fuzzy: boolean;
  private readonly part: SelectedPart;
  private known = new Set<string>();
  private batch: Buffer[] = [];
  private batchBytes = 0;
  /** The server applies one batch while the next one is fetched and gathered. */
  private underWay: Promise<void> = Promise.resolve();
  private reached: Optime | null = null;
  applied = 0;

  constructor(
    client: MongoClient,
    wire: WireConnection,
    transactions: OpenTransactions,
    { fuzzy, part }: { readonly fuzzy: boolean; readonly part: SelectedPart },
  ) {
    this.client = client;
    this.wire = wire;
    this.transactions = transactions;
    this.fuzzy = fuzzy;
    this.part = part;
    this.indexes = new IndexCatalog(client);
  }

  /** Reads where an earlier try came to; null when nothing was applied yet. */
  async resume(): Promise<Optime | null> {
    const { databases } = await this.client.db('admin').admin().listDatabases({ nameOnly: true });
    for (const { name } of databases) {
      const collections = await this.client.db(name).listCollections({}, { nameOnly: true }).toArray();
      for (const each of collections) this.known.add(`${name}.${each.name}`);
    }
    const progress = await this.client
      .db(RESTORE_DATABASE)
      .collection<{ _id: string; through: Timestamp }>('progress')
      .findOne({ _id: 'oplog' });
    this.reached = progress ? optimeFrom(progress.through) : null;
    return this.reached;
  }

  /** Entries at or before the position reached are left out, so that overlapping slices can be given whole. */
  async apply(entry: OplogEntry): Promise<void> {
    if (this.reached && compareOptimes(entry.optime, this.reached) <= 0) return;
    const finished = entry.op === 'c' ? await this.command(entry) : await this.change(entry.bytes, entry);
    this.reached = entry.optime;
    this.applied += 1;
    if (finished !== null) {
      await this.flush();
      await this.transactions.forget(finished);
    }
  }

  /** Resolves when everything given so far is applied. */
  async flush(): Promise<void> {
    await this.send();
    await this.underWay;
  }

  /** Hands over what is gathered, when the batch before it is applied. */
  private async send(): Promise<void> {
    if (this.reached === null) return;
    const progress = Bson.serialize({
      op: 'i',
      ns: `${RESTORE_DATABASE}.progress`,
      o: { _id: 'oplog', through: timestampOf(this.reached) },
    });
    if (!this.known.has(`${RESTORE_DATABASE}.progress`)) {
      await this.client.db(RESTORE_DATABASE).createCollection('progress');
      this.known.add(`${RESTORE_DATABASE}.progress`);
    }
    await this.underWay;
    this.underWay = this.applyOps([...this.batch, Buffer.from(progress)]);
    this.underWay.catch(() => {}); // thrown by whoever waits for it next
    [this.batch, this.batchBytes] = [[], 0];
  }

  private async change(bytes: Buffer, entry: OplogEntry): Promise<null> {
    const fields = fieldsOf(bytes);
    const [op, ns] = ['op', 'ns'].map((name) => fieldNamed(fields, name));
    if (!op || !ns) throw failure('BackupCorrupt', `oplog entry ${describe(entry)} has an operation without op or ns`);
    const [kind, source] = [stringOf(bytes, op), stringOf(bytes, ns)];
    const namespace = kind === 'n' ? null : this.placeOf(source);
    if (namespace === null) return null;
    if (kind === 'c')
      throw failure('BackupCorrupt', `oplog entry ${describe(entry)} holds a command where a change is due`);
    if (!this.known.has(namespace)) {
      if (this.fuzzy) return null;
      throw failure(
        'VerificationFailed',
        `oplog entry ${describe(entry)} changes ${namespace}, which does not exist at that point`,
      );
    }
    // Without `ui`: the restored collections have ids of their own.
    const kept = fields.filter(({ name }) => ['op', 'ns', 'o', 'o2', 'b'].includes(name));
    const operation = documentOf(
      kept.map((field) =>
        namespace === source
          ? bytes.subarray(field.elementAt, field.endAt)
          : movedElement(bytes, field, source, namespace),
      ),
    );
    if (this.batch.length >= BATCH_OPERATIONS || this.batchBytes + operation.length > BATCH_BYTES) await this.send();
    this.batch.push(operation);
    this.batchBytes += operation.length;
    return null;
  }

  /** Returns the transaction that the entry finished, if it did. */
  private async command(entry: OplogEntry): Promise<string | null> {
    const name = commandName(entry);
    const key = OpenTransactions.keyOf(entry);
    const o = fieldNamed(entry.fields, 'o');
    if (!name || !o) throw failure('BackupCorrupt', `oplog entry ${describe(entry)} is a command without a name`);
    const command = fieldsOf(entry.bytes, o.valueAt);
    switch (name) {
      case 'applyOps': {
        const isOpen = ['partialTxn', 'prepare'].some((flag) => fieldNamed(command, flag));
        if (isOpen && key) {
          await this.transactions.append(key, entry);
          return null;
        }
        const finishes = key !== null && continuesTransaction(entry);
        if (finishes) await this.applyTransaction(key);
        await this.applyNested(entry);
        return finishes ? key : null;
      }
      case 'commitTransaction':
        if (key) await this.applyTransaction(key);
        return key;
      case 'abortTransaction':
        return key;
      default:
        if (this.placeOf(entry.namespace) === null) return null;
        await this.flush();
        await this.definition(entry, name, valueOf(entry.bytes, o));
        return null;
    }
  }

  private async applyTransaction(key: string): Promise<void> {
    for await (const part of this.transactions.entries(key)) await this.applyNested(part);
  }

  private async applyNested(entry: OplogEntry): Promise<void> {
    const o = fieldNamed(entry.fields, 'o');
    const operations = o && fieldNamed(fieldsOf(entry.bytes, o.valueAt), 'applyOps');
    if (!operations) throw failure('BackupCorrupt', `oplog entry ${describe(entry)} has no applyOps`);
    // A copy, because compaction moves bytes within the entry.
    const array = Buffer.from(valueOf(entry.bytes, operations));
    for (const operation of documentsIn(compactDocuments(array, 0).documents)) {
      const fields = fieldsOf(operation);
      const [op, ns, inner] = ['op', 'ns', 'o'].map((name) => fieldNamed(fields, name));
      if (op && ns && inner && stringOf(operation, op) === 'c') {
        await this.flush();
        const name = fieldsOf(operation, inner.valueAt)[0]?.name ?? '';
        const nested = { ...entry, namespace: stringOf(operation, ns) };
        await this.definition(nested, name, valueOf(operation, inner));
      } else await this.change(operation, entry);
    }
  }

  /** The restored server's name for a namespace; null for one that is not restored. */
  private placeOf(namespace: string): string | null {
    return isForeign(namespace) ? null : this.part.placeOf(namespace);
  }

  /** A command that changes collections or indexes. Looks at the state first, so that it can be repeated. */
  private async definition(found: OplogEntry, name: string, raw: Buffer): Promise<void> {
    const place = this.placeOf(found.namespace);
    if (place === null) return;
    const entry = { ...found, namespace: place };
    if (!isReplayable(name)) {
      throw failure(
        'VerificationFailed',
        `oplog entry ${describe(entry)} is the command "${name}", which cannot be replayed`,
        { next: 'Restore to a time before it, or from a backup taken after it.' },
      );
    }
    const o = Bson.deserialize(raw, { promoteValues: false, promoteLongs: false });
    const db = databaseIn(place);
    const collection = String(o[name]);
    const namespace = `${db}.${collection}`;
    switch (name) {
      case 'create':
        if (this.known.has(namespace) || isForeign(namespace)) return;
        await this.runRaw(entry, raw);
        this.known.add(namespace);
        return;
      case 'drop':
        if (this.known.has(namespace)) await this.runRaw(entry, raw);
        this.known.delete(namespace);
        return this.indexes.forget(db, collection);
      case 'dropDatabase':
        await this.client.db(db).dropDatabase();
        this.known = new Set([...this.known].filter((each) => !each.startsWith(`${db}.`)));
        return this.indexes.forgetDatabase(db);
      case 'renameCollection':
        return this.rename(String(o['renameCollection']), String(o['to']), o['dropTarget'] !== undefined);
      case 'createIndexes': {
        const { createIndexes: _, ...spec } = o;
        return this.indexes.add(db, collection, [spec]);
      }
      case 'commitIndexBuild':
        return this.indexes.add(db, collection, o['indexes'] as Document[]);
      case 'startIndexBuild':
      case 'abortIndexBuild':
        return;
      case 'dropIndexes':
      case 'deleteIndexes':
      case 'dropIndex':
      case 'deleteIndex':
        return this.indexes.drop(db, collection, String(o['index']));
      case 'collMod':
        return this.collMod(entry, db, collection, o, raw);
      case 'emptycapped':
        return this.runRaw(entry, raw);
      case 'dbCheck':
        return;
      default:
        return name satisfies never;
    }
  }

  private async collMod(entry: OplogEntry, db: string, collection: string, o: Document, raw: Buffer): Promise<void> {
    if (o['index']) await this.indexes.modify(db, collection, o['index'] as Document);
    const rest = fieldsOf(raw).filter(({ name }) => name !== 'index');
    if (rest.length < 2 || !this.known.has(`${db}.${collection}`)) return;
    await this.runRaw(entry, documentOf(rest.map(({ elementAt, endAt }) => raw.subarray(elementAt, endAt))));
  }

  private async rename(source: string, target: string, dropTarget: boolean): Promise<void> {
    const [from, to] = [source, target].map((each) => this.part.placeOf(each) ?? each) as [string, string];
    if (this.known.has(from)) {
      // Of the collection that it takes the place of. Before the rename, which a repeat does not find to do any more.
      await this.indexes.forget(databaseIn(to), to.slice(databaseIn(to).length + 1));
      await this.client.db('admin').command({ renameCollection: from, to, dropTarget });
      this.known.delete(from);
      this.known.add(to);
    } else if (!this.known.has(to)) {
      throw failure('VerificationFailed', `the oplog renames ${from} to ${to}, and neither exists at that point`);
    }
    await this.indexes.rename(from, to);
  }

  private async runRaw(entry: OplogEntry, o: Buffer): Promise<void> {
    await this.applyOps([
      documentOf([stringElement('op', 'c'), stringElement('ns', entry.namespace), elementOf(BSON.document, 'o', o)]),
    ]);
  }

  private async applyOps(operations: readonly Buffer[]): Promise<void> {
    const array = documentOf(operations.map((each, index) => elementOf(BSON.document, `${index}`, each)));
    const body = documentOf([
      elementOf(BSON.array, 'applyOps', array),
      elementOf(BSON.boolean, 'allowAtomic', Buffer.of(0)),
      stringElement('$db', 'admin'),
    ]);
    const reply = await this.wire.command(body);
    if (reply['ok'] === 1) return;
    const failed = Array.isArray(reply['results']) ? reply['results'].indexOf(false) : -1;
    const operation = operations[Math.max(0, failed)];
    const what = operation ? describeOperation(operation) : 'a batch';
    throw failure(
      'VerificationFailed',
      `the restored MongoDB server refused ${what} of the oplog: ${reply['errmsg'] ?? reply['codeName']}`,
    );
  }
}

/** True for the last entry of a transaction that has earlier ones; single-entry transactions and grouped inserts have none. */
function continuesTransaction(entry: OplogEntry): boolean {
  const previous = fieldNamed(entry.fields, 'prevOpTime');
  if (!previous || fieldNamed(entry.fields, 'multiOpType')) return false;
  const ts = fieldNamed(fieldsOf(entry.bytes, previous.valueAt), 'ts');
  return ts !== undefined && optimeAt(entry.bytes, ts.valueAt).seconds > 0;
}

function describe(entry: OplogEntry): string {
  return `${entry.optime.seconds}:${entry.optime.increment}`;
}

/** Kind and namespace only: an operation's content is the user's data and stays out of messages. */
function describeOperation(operation: Buffer): string {
  const fields = fieldsOf(operation);
  const [op, ns] = ['op', 'ns'].map((name) => fieldNamed(fields, name));
  return op && ns ? `operation "${stringOf(operation, op)}" on ${stringOf(operation, ns)}` : 'an operation';
}
