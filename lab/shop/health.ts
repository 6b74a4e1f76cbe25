import type { JsonReply } from './json-server';
import type { StoreName, Stores } from './stores';

export type StoreUse = 'read' | 'write';

export interface ServiceHealth {
  service: string;
  site: string;
  stores: Partial<Record<StoreName, string>>;
}

/**
 * The answer to `GET /health`, never rejecting: 200 when every store the service uses answers, and takes a real write where the service writes (a
 * standby, a fenced server or a replica set without a majority answers reads); else 503 with the reason per store.
 */
export function healthCheck(
  service: string,
  site: string,
  uses: Partial<Record<StoreName, StoreUse>>,
  stores: Stores,
): () => Promise<JsonReply> {
  const probe = async (): Promise<JsonReply> => {
    const names = Object.keys(uses) as StoreName[];
    const results = await Promise.all(
      names.map((name) => probes[name](stores, `${service}@${site}`, uses[name] === 'write').then(() => 'ok', reason)),
    );
    const health: ServiceHealth = {
      service,
      site,
      stores: Object.fromEntries(names.map((name, i) => [name, results[i]])),
    };
    return { status: results.every((result) => result === 'ok') ? 200 : 503, body: health };
  };
  let running: Promise<JsonReply> | undefined;
  // Several probes at one moment share one round of writes: watching a service must not load its stores.
  return () => (running ??= probe().finally(() => (running = undefined)));
}

type Probe = (stores: Stores, who: string, write: boolean) => Promise<unknown>;

const probes: Record<StoreName, Probe> = {
  postgresql: (stores, who, write) =>
    stores.postgresql((pool) =>
      write
        ? pool.query(
            `INSERT INTO service_heartbeats (service, beat_at) VALUES ($1, clock_timestamp())
             ON CONFLICT (service) DO UPDATE SET beat_at = excluded.beat_at`,
            [who],
          )
        : pool.query('SELECT 1'),
    ),
  mongodb: (stores, who, write) =>
    stores.mongodb(async (db) =>
      write
        ? db
            .collection<{ _id: string }>('service_heartbeats')
            .updateOne({ _id: who }, { $set: { beatAt: new Date() } }, { upsert: true })
        : db.command({ ping: 1 }),
    ),
  redis: (stores, who, write) =>
    stores.redis((redis) => (write ? redis.set(`shop:heartbeat:${who}`, Date.now(), 'EX', 60) : redis.ping())),
};

function reason(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
