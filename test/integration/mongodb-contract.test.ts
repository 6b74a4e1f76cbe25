import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRestore } from '../../adapters/engines/mongodb/restore';
import type { RestoreRequest } from '../../core/engine';
import { hasCode } from '../../core/errors';
import { engineContract, type EngineHarness } from '../contract/engine.contract';
import { engineFaults } from '../contract/engine-faults.contract';
import { combinedSource, testContext } from '../support/engine-harness';
import { startMongodb } from '../support/mongodb-harness';
import { startMongodbRoles } from '../support/mongodb-roles';

async function startHarness(): Promise<EngineHarness> {
  const harness = await startMongodb();
  const { engine, client } = harness;
  let round = 0;
  return {
    engine,
    site: 'primary',
    deadSite: 'nowhere',
    silence: { site: 'silent', signal: async (signal) => harness.set.members[0]?.server.kill(signal) },
    standbySite: 'dr',
    leftByArchiver: null,
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
}

engineContract('MongoDB', startHarness, startMongodbRoles);
engineFaults('MongoDB', startHarness);

test.each(['0.0.0.0', '::', '10.0.0.7', '127.example.com'])(
  'a restore to %s, which others can reach, is refused',
  async (host) => {
    const directory = path.join(os.tmpdir(), 'drctl-mongodb-never-made');
    const place = { directory, host, port: 0, osUser: null, overwrite: false };
    const request = { restoreId: 'open', chain: [], place } as unknown as RestoreRequest;
    const refused = await createRestore('orders', undefined)
      .rebuild(request, combinedSource(new Map()), null, testContext())
      .catch((error: unknown) => error);
    expect(hasCode(refused, 'ConfigInvalid')).toBe(true);
    expect((refused as Error).message).toContain('asks for no password');
    expect(fs.existsSync(directory)).toBe(false);
  },
);
