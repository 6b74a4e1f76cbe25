import { parseArgs } from 'node:util';
import { createSchema } from './schema';
import { seedBulk } from './seed-bulk';
import { storeUrls } from './settings';

const USAGE = `usage: seed [--products N] [--users N] [--size MIB] [--seed N]
  The stores are named by SHOP_PG_URL, SHOP_MONGO_URL and SHOP_REDIS_URL, or by files in SHOP_…_URL_FILE.
  --size adds that many MiB of bulk data to PostgreSQL and to MongoDB.`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      products: { type: 'string', default: '200' },
      users: { type: 'string', default: '50' },
      size: { type: 'string', default: '0' },
      seed: { type: 'string', default: '1' },
    },
  });
  const urls = storeUrls(process.env);
  const sizes = { products: count('products', values.products), users: count('users', values.users) };
  await createSchema(urls.postgresql, urls.mongodb, urls.redis, sizes);
  const sizeBytes = count('size', values.size) * 1024 * 1024;
  if (sizeBytes > 0) await seedBulk(urls.postgresql, urls.mongodb, { sizeBytes, seed: count('seed', values.seed) });
  console.log(`seeded ${sizes.products} products, ${sizes.users} users and ${values.size} MiB of bulk data a store`);
}

function count(name: string, text: string): number {
  if (!/^\d+$/.test(text)) throw new Error(`--${name} is "${text}"; it must be a whole number\n${USAGE}`);
  return Number(text);
}

main().catch((error: unknown) => {
  console.error(`the seed failed: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(1);
});
