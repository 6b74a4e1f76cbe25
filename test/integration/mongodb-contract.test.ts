import { engineContract } from '../contract/engine.contract';
import { startMongodb } from '../support/mongodb-harness';

engineContract('MongoDB', async () => {
  const harness = await startMongodb();
  const { engine, client } = harness;
  let round = 0;
  return {
    engine,
    site: 'primary',
    deadSite: 'nowhere',
    silence: { site: 'silent', signal: async (signal) => harness.set.members[0]?.server.kill(signal) },
    standbySite: 'dr',
    async change() {
      round += 1;
      const orders = client.db('shop').collection<{ _id: string; items?: number[]; at?: Date }>('orders');
      const concern = { writeConcern: { w: 'majority' as const } };
      const documents = Array.from({ length: 50 }, (_, item) => ({
        _id: `order-${round}-${item}`,
        items: [item, round],
      }));
      await orders.insertMany(documents, concern);
      await orders.updateMany({ _id: /-1$/ }, { $push: { items: round } }, concern);
      await orders.deleteOne({ _id: `order-${round}-7` }, concern);
      await orders.createIndex({ items: 1, [`round${round}`]: 1 });
    },
    place: async () => harness.place(),
    stop: () => harness.stop(),
  };
});
