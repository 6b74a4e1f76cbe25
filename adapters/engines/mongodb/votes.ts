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
        return await members.ask(member, async (client) => {
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

export interface OutsideReport {
  /** The newest configuration that anyone outside the site knows; null when nobody answers. */
  readonly config: Document | null;
  /** Those that answered, each speaking for itself. */
  readonly reports: readonly MemberReport[];
  readonly votes: number;
  readonly total: number;
}

/** Asks every member of the set that is not at the site, also those (a witness) that only the set's own config names. */
export async function askOutside(members: Members, site: string): Promise<OutsideReport> {
  const outside = (host: string) => members.siteOf(host) !== site;
  const named = await statusOf(members, members.all().filter(outside));
  const config = newestConfig(named);
  if (!config) return { config, reports: [], votes: 0, total: 0 };
  const others = hostsOf(config).filter((host) => outside(host) && !named.some(({ member }) => member === host));
  const reports = [...named, ...(await statusOf(members, others))].filter(({ status }) => status !== null);
  return { config, reports, ...siteVotes(config, (host) => reports.some(({ member }) => member === host)) };
}

function newestConfig(reports: readonly MemberReport[]): Document | null {
  const configs = reports.map(({ config }) => config).filter((each) => each !== null);
  return configs.toSorted((a, b) => Number(b['version']) - Number(a['version']))[0] ?? null;
}
