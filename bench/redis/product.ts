import * as path from 'node:path';
import { readPieceName } from '../../adapters/engines/redis/positions';
import { serverBinaries } from '../../lab/runtime/servers';
import { ArchivedLog, type Reaching } from '../archived-log';
import { type Product, protect as protectStore } from '../product';
import type { Rig } from '../rig';
import { type BenchRedis, SITE } from './server';

/** A server and drctl over it. */
export interface Side {
  readonly server: BenchRedis;
  readonly product: Product;
  readonly archived: ArchivedLog<number>;
}

/** Offsets of the one stream that a server of a benchmark ever has. */
export const REACHING: Reaching<number> = {
  endOf: (name) => readPieceName(name)?.to ?? null,
  compare: (a, b) => a - b,
};

export async function protect(rig: Rig, server: BenchRedis): Promise<Side> {
  const archived = new ArchivedLog(rig, server.name, REACHING);
  const { host, port, password } = server;
  const product = await protectStore(rig, {
    application: server.name,
    host,
    config: (secret) => ({
      engine: 'redis',
      toolsDirectory: path.dirname(serverBinaries().redisServer),
      sites: { [SITE]: { host, port, password: secret('redis-password', password) } },
    }),
    newest: async () => `${await server.newest()}`,
    isArchived: (offset) => archived.reaches(Number(offset)),
  });
  return { server, product, archived };
}
