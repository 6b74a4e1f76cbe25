import { type MongoClient, MongoServerError } from 'mongodb';
import type { Members } from './members';

/** Lets the site's members stand for election again. Throws where one does not answer. */
export async function thawSite(members: Members, site: string): Promise<void> {
  await Promise.all(members.at(site).map((member) => members.withMember(member, thaw)));
}

/** mongod's refusal to thaw one that leads or runs for election: it is not frozen, which is what was wanted. */
const NOT_SECONDARY = 95;

export async function thaw(client: MongoClient): Promise<void> {
  await client
    .db('admin')
    .command({ replSetFreeze: 0 })
    .catch((error: unknown) => {
      if (!(error instanceof MongoServerError && error.code === NOT_SECONDARY)) throw error;
    });
}
