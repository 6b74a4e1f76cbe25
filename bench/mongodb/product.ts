import { compareOptimes, naming, type Optime, optimeOf, positionOf } from '../../adapters/engines/mongodb/positions';
import { serverBinaries } from '../../lab/runtime/servers';
import * as path from 'node:path';
import { ArchivedLog, type Reaching } from '../archived-log';
import { type Product, protect as protectStore } from '../product';
import type { Rig } from '../rig';
import { type ReplicaSet, SITE } from './replica-set';

/** A replica set and drctl over it. */
export interface Side {
  readonly set: ReplicaSet;
  readonly product: Product;
  readonly archived: ArchivedLog<Optime>;
}

export const REACHING: Reaching<Optime> = {
  endOf(name) {
    const piece = naming.read('', name);
    return piece && optimeOf(piece.to);
  },
  compare: compareOptimes,
};

export async function protect(rig: Rig, set: ReplicaSet): Promise<Side> {
  const archived = new ArchivedLog(rig, set.name, REACHING);
  const product = await protectStore(rig, {
    application: set.name,
    host: set.host,
    config: () => ({
      engine: 'mongodb',
      replicaSet: set.name,
      toolsDirectory: path.dirname(serverBinaries().mongod),
      sites: { [SITE]: { members: set.members.map(({ host, port }) => `${host}:${port}`) } },
    }),
    newest: async () => textOf(await set.newest()),
    isArchived: (text) => archived.reaches(optimeOf({ engine: 'mongodb', lineage: '', value: text })),
  });
  return { set, product, archived };
}

/** As `--to position:` takes it. */
export function textOf(optime: Optime): string {
  return positionOf(optime, '').value;
}
