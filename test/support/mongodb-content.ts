import { type AnyBulkWriteOperation, BSON, type Collection, type MongoClient } from 'mongodb';

const MAJORITY = { writeConcern: { w: 'majority' as const } };

/** Collections of every kind in `kinds`, with users and roles: what a copy of a server must not lose. */
export async function fillWithEveryKind(client: MongoClient): Promise<void> {
  const db = client.db('kinds');
  await db.createCollection('capped', { capped: true, size: 100_000, max: 5 });
  await db.collection('capped').insertMany(
    Array.from({ length: 5 }, (_, n) => ({ n })),
    MAJORITY,
  );
  await db.createCollection('series', { timeseries: { timeField: 'at', metaField: 'who', granularity: 'minutes' } });
  await db
    .collection('series')
    .insertMany(Array.from({ length: 20 }, (_, n) => ({ at: new Date(1_700_000_000_000 + n), who: n % 2, n })));
  await db.collection('series').createIndex({ who: 1, at: -1 });
  await db.createCollection('collated', { collation: { locale: 'de', strength: 1 } });
  await db.collection('collated').insertMany([{ _id: 'a' as never }, { _id: 'b' as never }]);
  await db.createCollection('clustered', { clusteredIndex: { key: { _id: 1 }, unique: true } });
  await db.collection('clustered').insertMany(Array.from({ length: 10 }, () => ({ x: 1 })));
  await db.createCollection('checked', { validator: { n: { $gte: 10 } }, validationLevel: 'moderate' });
  await db.collection('checked').insertOne({ n: 11 });
  await db.createCollection('empty');
  const indexed = db.collection('indexed');
  await indexed.insertMany(
    Array.from({ length: 100 }, (_, n) => ({ _id: n as never, n, text: `word${n} all`, at: [n, n / 2] })),
  );
  await indexed.createIndex({ n: 1 }, { unique: true, partialFilterExpression: { n: { $gte: 0 } }, name: 'partial' });
  await indexed.createIndex({ text: 'text' }, { weights: { text: 3 }, default_language: 'german' });
  await indexed.createIndex({ at: '2dsphere' }, { sparse: true });
  await indexed.createIndex({ 'deep.$**': 1 });
  await indexed.createIndex({ late: 1 }, { expireAfterSeconds: 3_600, hidden: true });
  await indexed.createIndex({ text: 1 }, { collation: { locale: 'fr', strength: 2 }, name: 'collated' });
  await db.collection<{ _id: number }>('odd').insertOne(
    new Map<string, unknown>([
      ['_id', 1],
      ['b', 1],
      ['2', 'two'],
      ['1', new BSON.Double(4)],
      ['long', BSON.Long.fromNumber(5)],
      ['decimal', BSON.Decimal128.fromString('1.50')],
      ['expression', /a.b/i],
    ]) as never,
    MAJORITY,
  );
  await db.createCollection('view', { viewOn: 'indexed', pipeline: [{ $match: { n: { $gt: 50 } } }] });
  await db.command({ createRole: 'reader', privileges: [], roles: ['read'], ...MAJORITY });
  await db.command({ createUser: 'clerk', pwd: 'p', roles: ['reader'], ...MAJORITY });
}

/** Changes of most kinds that an oplog can hold, beside `fillWithEveryKind`. `round` makes them others each time. */
export async function changeEveryKind(client: MongoClient, round: number): Promise<void> {
  const db = client.db('kinds');
  const changed: Collection<{ _id: string; n?: number; tags?: number[] }> = db.collection('changed');
  const id = (n: number) => `${round}-${n}`;
  await changed.insertMany(
    Array.from({ length: 30 }, (_, n) => ({ _id: id(n), n, tags: [] })),
    MAJORITY,
  );
  const writes: AnyBulkWriteOperation<{ _id: string; n?: number; tags?: number[] }>[] = [
    { updateOne: { filter: { _id: id(1) }, update: { $inc: { n: 5 }, $push: { tags: round } } } },
    { updateMany: { filter: { n: { $gt: 20 } }, update: { $unset: { tags: 1 } } } },
    { replaceOne: { filter: { _id: id(2) }, replacement: { n: -1 } } },
    { deleteOne: { filter: { _id: id(3) } } },
  ];
  await changed.bulkWrite(writes, MAJORITY);
  await db.collection('capped').insertOne({ n: 100 + round }, MAJORITY);
  await db.collection('series').insertOne({ at: new Date(1_700_000_100_000 + round), who: 1, n: round }, MAJORITY);
  await client.withSession((session) =>
    session.withTransaction(async () => {
      await changed.updateOne({ _id: id(4) }, { $set: { n: 1_000 } }, { session });
      await db.collection('indexed').insertOne({ n: 1_000 + round }, { session });
    }, MAJORITY),
  );
  await changed.createIndex({ n: 1, [`round${round}`]: 1 }, { name: `round-${round}` });
}
