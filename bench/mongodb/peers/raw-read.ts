import { once } from 'node:events';
import { MongoClient } from 'mongodb';
import { dumpNamespaces } from '../../../adapters/engines/mongodb/dump-namespaces';
import { rawBatches } from '../../../adapters/engines/mongodb/raw-batches';

/** As many as a dump reads at once. */
const PARALLEL_COLLECTIONS = 4;

/** Every document of a server to standard output, as fast as the driver reads whole batches. */
async function main(): Promise<void> {
  const client = await new MongoClient(process.env['MONGODB_URL'] ?? '').connect();
  const queue = (await dumpNamespaces(client)).filter(({ source }) => source !== null);
  const readNext = async () => {
    for (let each = queue.shift(); each; each = queue.shift()) {
      for await (const { documents } of rawBatches(client, each.db, { find: each.source })) {
        if (!process.stdout.write(documents)) await once(process.stdout, 'drain');
      }
    }
  };
  process.stdout.setMaxListeners(PARALLEL_COLLECTIONS + 1);
  await Promise.all(Array.from({ length: PARALLEL_COLLECTIONS }, readNext));
  await client.close();
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
