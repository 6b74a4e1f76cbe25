import * as fs from 'node:fs';
import * as path from 'node:path';
import Redis from 'ioredis';
import { Secret } from '../../core/secret';
import type { Repository } from '../../core/repository';
import { serverFile } from '../../lab/servers/process';
import { engineOf } from './engine-harness';
import { startMongodb } from './mongodb-harness';
import { ask } from './postgresql-source';
import { makeRandomTree } from './random-tree';
import { type SeededRandom, seededNumbers } from './random';
import { fillWithEveryType } from './redis-content';
import { postgresTool, serverBinaries, startPostgres, startRedis } from './servers';
import { type StoredStore, storedStore } from './stored-store';

/**
 * A store of each engine in one repository, with all that engines store: chains, segments and slices, a promoted timeline.
 * Their servers are gone when this resolves: the repository alone has to be enough.
 */
export async function storedApplication(
  repository: Repository,
  folder: string,
  random: SeededRandom,
): Promise<StoredStore[]> {
  const stores: StoredStore[] = [];
  for (const make of [relational, documents, keys, tree]) stores.push(await make(repository, folder, random));
  return stores;
}

async function relational(repository: Repository, folder: string): Promise<StoredStore> {
  const server = await startPostgres();
  const { host, port, password } = server;
  const engine = await engineOf('postgresql', 'ledger', {
    sites: { primary: { host, port, password: new Secret(password) } },
    toolsDirectory: path.dirname(postgresTool('postgres')),
  });
  const store = storedStore(engine, repository, folder);
  await ask(server.url, 'CREATE TABLE notes (id int, body text)');
  const add = (rows: number) =>
    ask(server.url, `INSERT INTO notes SELECT g, md5(g::text) FROM generate_series(1, ${rows}) g`);
  await store.archive();
  await add(5_000);
  await store.back('full');
  await add(1_000);
  await store.back('incr');
  await store.archive();
  await server.server.stop();
  serverFile(path.join(server.dataDir, 'standby.signal'), '');
  await server.server.start();
  await ask(server.url, 'SELECT pg_promote(true, 30)');
  for (let segment = 0; segment < 2; segment += 1) {
    await add(1_000);
    await ask(server.url, 'SELECT pg_switch_wal()');
  }
  await store.archive();
  for (let slice = 0; slice < 3; slice += 1) {
    await add(100);
    await store.archive();
  }
  await server.stop();
  return store;
}

async function documents(repository: Repository, folder: string): Promise<StoredStore> {
  const harness = await startMongodb({ members: 1, living: true });
  const store = storedStore(harness.engine, repository, folder);
  const collection = harness.client.db('shop').collection('events');
  const add = (from: number) =>
    collection.insertMany(
      Array.from({ length: 500 }, (_, index) => ({ n: from + index, text: `event ${from + index}` })),
    );
  await add(0);
  await store.archive();
  await store.back('full');
  for (let slice = 1; slice <= 4; slice += 1) {
    await add(slice * 1_000);
    await store.archive();
  }
  await store.back('full');
  await add(9_000);
  await store.archive();
  await harness.stop();
  return store;
}

async function keys(repository: Repository, folder: string, random: SeededRandom): Promise<StoredStore> {
  const server = await startRedis();
  const { host, port, password } = server;
  const sites = { primary: { host, port, password: new Secret(password) } };
  const toolsDirectory = path.dirname(serverBinaries().redisServer);
  const store = storedStore(await engineOf('redis', 'sessions', { sites, toolsDirectory }), repository, folder);
  const client = new Redis({ host, port, password, retryStrategy: () => null });
  await fillWithEveryType(client, random.seed);
  await store.back('full');
  await client.set('added later', 'something new');
  await store.back('full');
  client.disconnect();
  await server.stop();
  return store;
}

async function tree(repository: Repository, folder: string, random: SeededRandom): Promise<StoredStore> {
  const root = path.join(folder, 'tree');
  fs.mkdirSync(root);
  makeRandomTree(root, seededNumbers(random.seed), 60);
  const engine = await engineOf('files', 'assets', { sites: { primary: { roots: [root] } } });
  const store = storedStore(engine, repository, folder);
  await store.back('full');
  fs.writeFileSync(path.join(root, 'added later'), 'something new');
  await store.back('full');
  return store;
}
