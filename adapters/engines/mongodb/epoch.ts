import type { MongoClient } from 'mongodb';
import { failure } from '../../../core/errors';
import { OWN_DATABASE } from './lineage';
import type { Members } from './members';

interface EpochDocument {
  readonly _id: 'epoch';
  readonly epoch: number;
  readonly site: string;
}

const EPOCH_WRITE = { w: 'majority' as const, wtimeoutMS: 10_000 };

/** The epoch noted in the store, as the site's members have it; null when there is none or none of them answers. */
export async function currentEpoch(members: Members, site: string): Promise<number | null> {
  const found = await Promise.all(
    members.at(site).map(
      (member) => members.ask(member, readEpoch).catch(() => null), // null is this method's word for "does not answer"
    ),
  );
  const known = found.filter((each) => each !== null);
  return known.length === 0 ? null : Math.max(...known);
}

/** Throws StaleEpoch when the members of one of the sites hold a newer epoch; those that do not answer say nothing. */
export async function refuseOlderEpoch(members: Members, sites: readonly string[], epoch: number): Promise<void> {
  const noted = Math.max(...(await Promise.all(sites.map(async (site) => (await currentEpoch(members, site)) ?? 0))));
  if (noted <= epoch) return;
  throw failure('StaleEpoch', `MongoDB ${members.store} holds epoch ${noted}, this step is of ${epoch}`);
}

export async function readEpoch(client: MongoClient): Promise<number | null> {
  const found = await client.db(OWN_DATABASE).collection<EpochDocument>('epoch').findOne({ _id: 'epoch' });
  return found?.epoch ?? null;
}

/** Notes the epoch with a majority; never lowers it. Throws StaleEpoch when a newer one is there. */
export async function noteEpoch(client: MongoClient, epoch: number, site: string): Promise<void> {
  const epochs = client.db(OWN_DATABASE).collection<EpochDocument>('epoch');
  try {
    await epochs.updateOne(
      { _id: 'epoch', epoch: { $lte: epoch } },
      { $set: { epoch, site } },
      { upsert: true, writeConcern: EPOCH_WRITE },
    );
  } catch (error) {
    // The filter found none although the document exists: the upsert then collides, because its epoch is newer.
    if ((error as { code?: number }).code !== 11000) throw error;
    throw failure('StaleEpoch', `MongoDB holds epoch ${await readEpoch(client)}, newer than ${epoch}`, {
      cause: error,
    });
  }
}
