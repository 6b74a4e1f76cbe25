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
  /** The newest configuration that anyone of those asked knows; null when nobody answers. */
  readonly config: Document | null;
  /** Its members that answered, each speaking for itself. One that belongs to it no more speaks for another set. */
  readonly reports: readonly MemberReport[];
  /** The hosts of those, and of arbiters, which can be greeted only. */
  readonly answering: readonly string[];
  /** Of `answering`. */
  readonly votes: number;
  readonly total: number;
}

/** Before anybody was asked, and where nobody answers. */
export const NOBODY: OutsideReport = { config: null, reports: [], answering: [], votes: 0, total: 0 };

/**
 * Asks every member of the set that is not at the site (null: every member), also those (a witness) that only the set's own
 * config names.
 */
export async function askOutside(members: Members, site: string | null): Promise<OutsideReport> {
  const outside = (host: string) => site === null || members.siteOf(host) !== site;
  const named = await statusOf(members, members.all().filter(outside));
  const config = newestConfig(named);
  if (!config) return NOBODY;
  const hosts = hostsOf(config).filter(outside);
  const others = hosts.filter((host) => !named.some(({ member }) => member === host));
  const [asked, arbiters] = await Promise.all([
    statusOf(members, others),
    members.greeted(arbitersOf(config).filter((host) => hosts.includes(host))),
  ]);
  const reports = [...named, ...asked].filter(({ member, status }) => status !== null && hosts.includes(member));
  const answering = [...new Set([...reports.map(({ member }) => member), ...arbiters])];
  return { config, reports, answering, ...siteVotes(config, (host) => answering.includes(host)) };
}

export const hasMajority = ({ votes, total }: { readonly votes: number; readonly total: number }) => 2 * votes > total;

/** How long the members of the set are without a primary before they elect one. */
export function electionMilliseconds(config: Document | null): number {
  return Number(config?.['settings']?.['electionTimeoutMillis'] ?? 10_000);
}

/** The primary of the newest term, by its own word. */
export function leaderOf({ reports }: OutsideReport): { member: string; term: number } | null {
  const leaders = reports
    .filter(({ status }) => status?.['myState'] === 1)
    .map(({ member, status }) => ({ member, term: Number(status?.['term']) }));
  return leaders.toSorted((a, b) => b.term - a.term)[0] ?? null;
}

/** The living primary that a member knows of by its heartbeats. */
export function primarySeenBy({ status }: MemberReport): string | null {
  const primary = ((status?.['members'] ?? []) as Document[]).find(
    (each) => each['state'] === 1 && each['health'] === 1,
  );
  return primary ? String(primary['name']) : null;
}

/**
 * As mongod orders configurations: by term, then by version; by the version alone where one of them was forced, which
 * takes its term away until somebody reconfigures the set without force.
 */
export function compareConfigs(a: Document, b: Document): number {
  const [first, second] = [Number(a['term'] ?? -1), Number(b['term'] ?? -1)];
  const terms = first === -1 || second === -1 ? 0 : first - second;
  return terms || Number(a['version']) - Number(b['version']);
}

function newestConfig(reports: readonly MemberReport[]): Document | null {
  const configs = reports.map(({ config }) => config).filter((each) => each !== null);
  return configs.toSorted((a, b) => compareConfigs(b, a))[0] ?? null;
}

function arbitersOf(config: Document): string[] {
  return (config['members'] as Document[]).filter((each) => each['arbiterOnly']).map((each) => String(each['host']));
}
