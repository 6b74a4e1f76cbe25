import { type Product, protect as protectStore } from '../product';
import type { Rig } from '../rig';
import type { Cluster } from './cluster';

/** A cluster and drctl over it. */
export interface Side {
  readonly cluster: Cluster;
  readonly product: Product;
}

/** What `slotName` of the engine makes of the store's name. */
export const SLOT = 'drctl_db';

/** The archiver says to the server how far the log is durable: that is what is asked here. */
export function protect(rig: Rig, cluster: Cluster): Promise<Product> {
  const { name: application, host, port } = cluster;
  return protectStore(rig, {
    application,
    host,
    config: (secret) => ({
      engine: 'postgresql',
      toolsDirectory: cluster.version.programs,
      sites: {
        primary: {
          host,
          port,
          user: 'postgres',
          password: secret('postgresql', cluster.password),
          database: 'postgres',
        },
      },
    }),
    async newest() {
      const [now] = await cluster.query<{ lsn: string }>('SELECT pg_current_wal_lsn()::text AS lsn');
      return now?.lsn ?? '0/0';
    },
    async isArchived(lsn) {
      const rows = await cluster.query<{ there: boolean | null }>(
        `SELECT bool_or(r.flush_lsn >= $1::pg_lsn) AS there FROM pg_stat_replication r
         JOIN pg_replication_slots s ON s.active_pid = r.pid WHERE s.slot_name = $2`,
        [lsn, SLOT],
      );
      return rows[0]?.there === true;
    },
  });
}
