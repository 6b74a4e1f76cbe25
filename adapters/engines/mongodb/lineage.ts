import type { MongoClient } from 'mongodb';

/** The database in the store itself that belongs to drctl: heartbeat, epoch, lineage, write probes. */
export const OWN_DATABASE = 'drctl';

interface LineageRecord {
  readonly _id: string;
  readonly generation: number;
}

/** `<setId>/<n>`: `n` grows when the archived log of the set was interrupted (gap, rollback). */
export function lineageOf(setId: string, generation: number): string {
  return `${setId}/${generation}`;
}

export function generationOf(lineage: string, setId: string): number | null {
  const [id, generation] = lineage.split('/');
  return id === setId && generation !== undefined && /^\d+$/.test(generation) ? Number(generation) : null;
}

/**
 * The number of the lineage that is archived now, kept in the store so that a dump (which sees no archive) and a replica
 * know it as well. 1 until an archiver says otherwise.
 */
export async function currentGeneration(client: MongoClient, setId: string): Promise<number> {
  const record = await client.db(OWN_DATABASE).collection<LineageRecord>('lineage').findOne({ _id: setId });
  return record?.generation ?? 1;
}

/** Raises the number; never lowers it. */
export async function noteGeneration(client: MongoClient, setId: string, generation: number): Promise<void> {
  await client
    .db(OWN_DATABASE)
    .collection<LineageRecord>('lineage')
    .updateOne(
      { _id: setId },
      { $max: { generation } },
      { upsert: true, writeConcern: { w: 'majority', wtimeoutMS: 10_000 } },
    );
}
