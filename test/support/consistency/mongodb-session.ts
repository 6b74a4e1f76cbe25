/* oxlint-disable no-underscore-dangle -- `_id` is MongoDB's name for it */
import { type ClientSession, type Db, MongoClient, MongoServerError } from 'mongodb';
import { SHOP_DATABASE } from '../../../lab/shop/orders';
import type { Survivors } from './history';
import { ACCOUNTS, CONNECT_MILLISECONDS, Refused, type Session, type TransferOrder } from './session';

interface Account {
  readonly _id: number;
  readonly balance: number;
}
interface StoredTransfer extends Omit<TransferOrder, 'id'> {
  readonly _id: string;
}
interface Register {
  readonly _id: string;
  readonly value: number;
  readonly writes: number[];
}

const SERVER_MILLISECONDS = 2_000;
const MAJORITY = { w: 'majority' as const, j: true, wtimeoutMS: SERVER_MILLISECONDS };
/** NotWritablePrimary and NotPrimaryNoSecondaryOk: the member refused before it did anything (error_codes.yml). */
const REFUSED_CODES = new Set<unknown>([10107, 13435]);

const accounts = (db: Db) => db.collection<Account>('bank_accounts');
const transfers = (db: Db) => db.collection<StoredTransfer>('bank_transfers');
const registers = (db: Db) => db.collection<Register>('registers');

export async function createBank(url: string, names: readonly string[]): Promise<void> {
  await withDatabase(url, async (db) => {
    const all = { writeConcern: { w: 5 } }; // every member has it before the first fault
    await accounts(db).insertMany(
      ACCOUNTS.map((balance, _id) => ({ _id, balance })),
      all,
    );
    await registers(db).insertMany(
      names.map((_id) => ({ _id, value: 0, writes: [] })),
      all,
    );
    await db.createCollection('bank_transfers');
  });
}

/** `siteOf` tells the site of a member's address. Everything is acknowledged by a majority, as the shop's own writes are. */
export async function mongodbSession(
  askedSite: string,
  url: string,
  siteOf: (address: string) => string,
): Promise<Session> {
  const client = new MongoClient(url, {
    monitorCommands: true,
    maxPoolSize: 2,
    connectTimeoutMS: CONNECT_MILLISECONDS,
    serverSelectionTimeoutMS: CONNECT_MILLISECONDS,
    socketTimeoutMS: SERVER_MILLISECONDS + 500,
    heartbeatFrequencyMS: 500,
    // What is sent again by the driver would be one operation at two sites.
    retryWrites: false,
    retryReads: false,
    writeConcern: MAJORITY,
  });
  let site = askedSite;
  client.on('commandSucceeded', ({ address }) => (site = siteOf(address)));
  const db = client.db(SHOP_DATABASE);

  async function inTransaction(work: (session: ClientSession) => Promise<void>): Promise<void> {
    const session = client.startSession();
    try {
      session.startTransaction({ readConcern: { level: 'snapshot' }, writeConcern: MAJORITY });
      try {
        await work(session);
      } catch (error) {
        // Without a commit it is never committed; the server ends it by itself where the abort does not reach it.
        void session.abortTransaction().catch(() => undefined);
        throw new Refused(error, { broken: true });
      }
      await session.commitTransaction();
    } finally {
      void session.endSession().catch(() => undefined);
    }
  }

  return {
    get site() {
      return site;
    },
    async transfer({ id, from, to, amount }) {
      await inTransaction(async (session) => {
        const paid = await accounts(db).updateOne(
          { _id: from, balance: { $gte: amount } },
          { $inc: { balance: -amount } },
          { session },
        );
        if (paid.matchedCount !== 1) throw new Error('not enough money');
        await accounts(db).updateOne({ _id: to }, { $inc: { balance: amount } }, { session });
        await transfers(db).insertOne({ _id: id, from, to, amount }, { session });
      });
      return undefined;
    },
    async balances() {
      const session = client.startSession({ snapshot: true }); // else a read that yields sees several instants
      try {
        const all = await accounts(db)
          .find({}, { session, sort: { _id: 1 } })
          .toArray();
        return all.map(({ balance }) => balance);
      } finally {
        void session.endSession().catch(() => undefined);
      }
    },
    async write(register, value) {
      try {
        await registers(db).updateOne({ _id: register }, { $set: { value }, $push: { writes: value } });
      } catch (error) {
        throw isRefusal(error) ? new Refused(error) : error;
      }
      return undefined;
    },
    async read(register) {
      // Linearizable: a leader that was stopped and does not know of its successor must not answer.
      const options = { readConcern: { level: 'linearizable' as const }, maxTimeMS: SERVER_MILLISECONDS };
      return (await registers(db).findOne({ _id: register }, options))?.value ?? 0;
    },
    destroy: () => void client.close(true).catch(() => undefined),
  };
}

function isRefusal(error: unknown): boolean {
  if (error instanceof MongoServerError)
    return REFUSED_CODES.has(error.code) && !error.errorResponse['writeConcernError'];
  return error instanceof Error && error.name === 'MongoServerSelectionError';
}

export function mongodbSurvivors(url: string): Promise<Survivors> {
  return withDatabase(url, async (db) => {
    const majority = { readConcern: { level: 'majority' as const } };
    const all = await registers(db).find({}, majority).toArray();
    return {
      balances: (
        await accounts(db)
          .find({}, { ...majority, sort: { _id: 1 } })
          .toArray()
      ).map(({ balance }) => balance),
      transfers: (await transfers(db).find({}, majority).toArray()).map(({ _id, ...rest }) => ({ id: _id, ...rest })),
      writes: Object.fromEntries(all.map(({ _id, writes }) => [_id, writes])),
    };
  });
}

async function withDatabase<T>(url: string, use: (db: Db) => Promise<T>): Promise<T> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 15_000 });
  try {
    return await use(client.db(SHOP_DATABASE));
  } finally {
    await client.close();
  }
}
