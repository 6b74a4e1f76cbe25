import type { Collection, Document, MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';

/** The restored server's database for what a restore must remember; dropped when the store is opened. */
export const RESTORE_DATABASE = 'drctl_restore';

/** Two keep a small server's two cores busy, the third is there while one of them waits for its disk. */
const PARALLEL_BUILDS = 3;
const ALIVE_MILLISECONDS = 2_000;

interface CollectionIndexes {
  /** Namespace without `system.buckets.`. */
  readonly _id: string;
  readonly indexes: readonly { readonly on: string; readonly spec: Document }[];
}

/**
 * The indexes that exist at the point that a replay has reached. They are built at its end only: the state in between may
 * break a unique index (the copy is fuzzy, and a repeated entry too), and replay needs none but `_id`. Kept in the server,
 * so that it is exactly as far as the data is after a crash.
 */
export class IndexCatalog {
  private readonly client: MongoClient;
  private readonly records: Collection<CollectionIndexes>;

  constructor(client: MongoClient) {
    this.client = client;
    this.records = client
      .db(RESTORE_DATABASE)
      .collection<CollectionIndexes>('indexes', { promoteValues: false, promoteLongs: false });
  }

  async add(db: string, collection: string, specs: readonly Document[]): Promise<void> {
    const wanted = specs
      .filter((spec) => !isIdIndex(spec))
      .map((spec) => ({ on: collection, spec: without(spec, ['ns']) }));
    if (wanted.length === 0) return;
    const names = new Set(wanted.map(({ spec }) => String(spec['name'])));
    await this.change(keyOf(db, collection), (indexes) => [
      ...indexes.filter(({ spec }) => !names.has(String(spec['name']))),
      ...wanted,
    ]);
  }

  async drop(db: string, collection: string, name: string): Promise<void> {
    await this.change(keyOf(db, collection), (indexes) =>
      name === '*' ? [] : indexes.filter(({ spec }) => String(spec['name']) !== name),
    );
  }

  /** What `collMod` changed of one index: `index` of its entry. */
  async modify(db: string, collection: string, change: Document): Promise<void> {
    const name = change['name'] as unknown;
    const changes = without(change, ['name', 'keyPattern']);
    await this.change(keyOf(db, collection), (indexes) =>
      indexes.map((each) =>
        String(each.spec['name']) === String(name) ? { ...each, spec: { ...each.spec, ...changes } } : each,
      ),
    );
  }

  async forget(db: string, collection: string): Promise<void> {
    await this.records.deleteOne({ _id: keyOf(db, collection) });
  }

  /** Forgets every collection that is not among these. */
  async retain(isKept: (namespace: string) => boolean): Promise<void> {
    const keys = await this.records.find({}, { projection: { _id: 1 } }).toArray();
    await this.records.deleteMany({ _id: { $in: keys.map(({ _id }) => _id).filter((key) => !isKept(key)) } });
  }

  async forgetDatabase(db: string): Promise<void> {
    await this.retain((namespace) => !namespace.startsWith(`${db}.`));
  }

  /** For a collection that has its new name already. Can be repeated: then nothing is known of the old name. */
  async rename(from: string, to: string): Promise<void> {
    const record = await this.records.findOne({ _id: from });
    if (!record) return;
    const name = to.slice(to.indexOf('.') + 1);
    const indexes = record.indexes.map(({ spec }) => ({ on: name, spec }));
    await this.records.replaceOne({ _id: to }, { indexes }, { upsert: true });
    await this.records.deleteOne({ _id: from });
  }

  /**
   * Builds what is missing, several collections at a time; indexes that are there already cost nothing, so that it can be
   * repeated. Throws the first failure when no build is under way any more.
   */
  async build(ctx: CallContext): Promise<void> {
    const queue = (await this.records.find().toArray()).flatMap(collectionsOf);
    let [doneItems, isBuilding] = [0, true];
    const counts = { phase: 'building indexes', totalItems: queue.length };
    const buildNext = async () => {
      for (let each = queue.shift(); each; each = queue.shift()) {
        ctx.signal.throwIfAborted();
        ctx.progress({ ...counts, doneItems, note: `${each.db}.${each.on}` });
        await this.client.db(each.db).command({ createIndexes: each.on, indexes: each.specs });
        doneItems += 1;
      }
    };
    // A build says nothing until it is done, and that of a large collection takes minutes: the server is asked.
    const alive = setInterval(() => {
      void this.underWay().then((note) => isBuilding && ctx.progress({ ...counts, doneItems, note }));
    }, ALIVE_MILLISECONDS);
    try {
      const builds = Array.from({ length: PARALLEL_BUILDS }, () =>
        buildNext().catch((error: unknown) => {
          queue.length = 0;
          throw error;
        }),
      );
      const failed = (await Promise.allSettled(builds)).find((each) => each.status === 'rejected');
      if (failed) throw failed.reason;
    } finally {
      isBuilding = false;
      clearInterval(alive);
    }
  }

  /** How far the builds are, in words. */
  private async underWay(): Promise<string> {
    const builds = { msg: { $regex: '^Index Build' }, 'progress.total': { $gt: 0 } };
    const found = await this.client
      .db('admin')
      .aggregate<{ ns: string; progress: { done: number; total: number } }>([
        { $currentOp: { allUsers: true } },
        { $match: builds },
      ])
      .toArray()
      // The build itself tells what is wrong with the server.
      .catch(() => []);
    return found.map(({ ns, progress }) => `${ns} ${Math.floor((progress.done * 100) / progress.total)} %`).join(', ');
  }

  private async change(
    key: string,
    to: (indexes: CollectionIndexes['indexes']) => CollectionIndexes['indexes'],
  ): Promise<void> {
    const record = await this.records.findOne({ _id: key });
    await this.records.replaceOne({ _id: key }, { indexes: to(record?.indexes ?? []) }, { upsert: true });
  }
}

/** What is built by one command: the indexes of one collection, buckets of a time series by themselves. */
function collectionsOf({ _id, indexes }: CollectionIndexes) {
  const db = _id.slice(0, _id.indexOf('.'));
  return [...new Set(indexes.map(({ on }) => on))].map((on) => ({
    db,
    on,
    specs: indexes.filter((each) => each.on === on).map(({ spec }) => spec),
  }));
}

function keyOf(db: string, collection: string): string {
  return `${db}.${collection.replace(/^system\.buckets\./, '')}`;
}

function without(document: Document, names: readonly string[]): Document {
  return Object.fromEntries(Object.entries(document).filter(([name]) => !names.includes(name)));
}

function isIdIndex(spec: Document): boolean {
  return spec['name'] === '_id_' || spec['clustered'] !== undefined;
}
