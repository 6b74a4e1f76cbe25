import type { MongoClient } from 'mongodb';
import type { LogEnd } from '../../../core/engine';
import { currentGeneration, lineageOf } from './lineage';
import { newestCommitted, replicaSetId } from './oplog';
import { positionOf } from './positions';

/** The newest entry that a majority has. */
export async function logEnd(client: MongoClient, site: string): Promise<LogEnd> {
  const { id } = await replicaSetId(client);
  const [generation, { optime, wall }, build, hello] = await Promise.all([
    currentGeneration(client, id),
    newestCommitted(client),
    client.db('admin').command({ buildInfo: 1 }),
    client.db('admin').command({ hello: 1 }),
  ]);
  return {
    position: positionOf(optime, lineageOf(id, generation)),
    at: wall.toISOString(),
    identity: id,
    serverVersion: String(build['version']),
    source: { site, member: String(hello['me']) },
  };
}
