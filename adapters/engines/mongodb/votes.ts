import type { Document } from 'mongodb';
import type { Members } from './members';

/** What one member says of the whole set; null where it does not answer. */
export interface MemberReport {
  readonly member: string;
  readonly status: Document | null;
  readonly config: Document | null;
}

/** Asks each member by itself: what one says of another is hearsay. */
export async function statusOf(members: Members, hosts: readonly string[]): Promise<MemberReport[]> {
  return Promise.all(
    hosts.map(async (member) => {
      try {
        return await members.withMember(member, async (client) => {
          const admin = client.db('admin');
          const [status, reply] = await Promise.all([
            admin.command({ replSetGetStatus: 1 }),
            admin.command({ replSetGetConfig: 1 }),
          ]);
          return { member, status, config: reply['config'] as Document };
        });
      } catch {
        return { member, status: null, config: null }; // no answer is an answer here: it is counted as one that is missing
      }
    }),
  );
}

export function siteVotes(config: Document, counts: (host: string) => boolean): { votes: number; total: number } {
  const all = config['members'] as Document[];
  const sum = (list: Document[]) => list.reduce((votes, each) => votes + Number(each['votes'] ?? 1), 0);
  return { votes: sum(all.filter((each) => counts(String(each['host'])))), total: sum(all) };
}

/** Every member of the set by its config, also those (a witness) that our config does not name. */
export function hostsOf(config: Document): string[] {
  return (config['members'] as Document[]).map((each) => String(each['host']));
}
