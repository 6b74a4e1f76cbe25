import { compareOptimes, naming, type Optime, optimeOf, positionOf } from '../../adapters/engines/mongodb/positions';
import { createRepository } from '../../adapters/repository';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { Secret } from '../../core/secret';
import { serverBinaries } from '../../lab/runtime/servers';
import * as path from 'node:path';
import { type Product, protect as protectStore, STORE } from '../product';
import type { Rig } from '../rig';
import { type ReplicaSet, SITE } from './replica-set';

/** A replica set and drctl over it. */
export interface Side {
  readonly set: ReplicaSet;
  readonly product: Product;
  readonly archived: ArchivedLog;
}

export async function protect(rig: Rig, set: ReplicaSet): Promise<Side> {
  const archived = new ArchivedLog(rig, set.name);
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
    isArchived: async (text) => {
      const newest = await archived.newest();
      return newest !== null && compareOptimes(newest, optimeOf({ engine: 'mongodb', lineage: '', value: text })) >= 0;
    },
  });
  return { set, product, archived };
}

/** As `--to position:` takes it. */
export function textOf(optime: Optime): string {
  return positionOf(optime, '').value;
}

/** How far S3 holds the log, by what is listed there: nobody's word is taken for it. */
export class ArchivedLog {
  private readonly repository: Repository;
  private after: string | null = null;
  private reached: Optime | null = null;

  constructor({ s3 }: Rig, application: string) {
    const credentials = {
      accessKeyId: new Secret(s3.keys.accessKeyId),
      secretAccessKey: new Secret(s3.keys.secretAccessKey),
    };
    const place = { bucket: s3.buckets.ours, region: s3.region, endpoint: s3.plainEndpoint };
    this.repository = createRepository(
      'bench',
      { kind: 's3', ...place, prefix: '', credentials, storageClass: 'STANDARD' },
      application,
    );
  }

  /** Null while nothing is there. A piece's name says up to where it reaches, and names are in the log's order. */
  async newest(): Promise<Optime | null> {
    const from = this.after;
    for await (const { key } of this.repository.list(layout.logs(STORE), from === null ? {} : { after: from })) {
      const name = key.slice(key.lastIndexOf('/') + 1).replace(/\.zst$/, '');
      const piece = naming.read('', name);
      if (!piece) continue;
      this.after = key;
      const to = optimeOf(piece.to);
      if (this.reached === null || compareOptimes(to, this.reached) > 0) this.reached = to;
    }
    return this.reached;
  }
}
