import { MongoClient } from 'mongodb';
import type { RolesHarness } from '../contract/roles.contract';
import { startMongodb } from './mongodb-harness';

/**
 * A member at each of three sites, so that the loss of one leaves a majority. Writes go to the site's own member, and are
 * acknowledged by a majority as the strategy's application asks for.
 */
export async function startMongodbRoles(): Promise<RolesHarness> {
  const harness = await startMongodb({ members: 3 });
  const { set, engine } = harness;
  const ask = async <T>(site: string, use: (client: MongoClient) => Promise<T>): Promise<T> => {
    const member = set.members[site === 'dr' ? 1 : 0];
    const client = new MongoClient(`mongodb://${member?.host}:${member?.port}/`, {
      auth: { username: set.user, password: set.password },
      directConnection: true,
      serverSelectionTimeoutMS: 5_000,
    });
    try {
      return await use(await client.connect());
    } finally {
      await client.close();
    }
  };
  const entries = (client: MongoClient) => client.db('shop').collection<{ _id: string }>('entries');
  const majority = { w: 'majority', wtimeoutMS: 10_000 } as const;
  return {
    engine,
    primarySite: 'primary',
    standbySite: 'dr',
    write: (site, row) =>
      ask(site, async (client) => {
        const options = { upsert: true, writeConcern: majority };
        await entries(client).updateOne({ _id: row }, { $set: { _id: row } }, options);
      }),
    rows: (site) =>
      ask(site, async (client) => {
        const found = await entries(client).find({}, { readPreference: 'secondaryPreferred' }).toArray();
        return found.map(({ _id }) => _id).toSorted();
      }),
    stop: () => harness.stop(),
  };
}
