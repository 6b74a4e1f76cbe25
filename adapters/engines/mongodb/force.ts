import type { Document, Timestamp } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { PromoteRequest } from '../../../core/roles';
import { failure } from '../../../core/errors';
import { unprovenStores } from '../../../core/fencing';
import { leftBehindBy, leftBehindTag } from './left-behind';
import type { Members } from './members';
import { hostsOf, type MemberReport, type OutsideReport, primarySeenBy, siteVotes } from './votes';

/** It waits for no other member, only for its own disk. */
const RECONFIGURE_MILLISECONDS = 10_000;
/** `members.ask` has to outlast the server's own limit. */
const ASK_MILLISECONDS = 13_000;
/** MongoDB's limit. */
const MOST_VOTERS = 7;

/** Why the members that answer elect nobody. */
export function noMajority({ votes, total }: OutsideReport, lostSite: string | null): string {
  return `${lostSite === null ? '' : `without ${lostSite} `}${votes} of ${total} votes answer: no majority could elect a primary`;
}

/**
 * Replaces the set's configuration at the survivor that has the newest data, by force: only those that answer stay, and those of
 * the site may lead ("Reconfigure a Replica Set with Unavailable Members" in MongoDB's manual). What only the others have is
 * lost, whatever concern it was acknowledged with. Not undone by anything, so that it is done only where
 *
 * - an approver has attested it (else MajorityLost),
 * - the site of the old primary is *proven* to be fenced: nobody's word and no silence counts (FencingUnconfirmed),
 * - those that are silent and at no fenced site could not elect a primary among themselves (FencingUnconfirmed),
 * - no survivor hears of a living primary (PromotionFailed, which is tried again).
 *
 * Not needed twice: with the configuration that it leaves, those that answer are a majority. No election changes that
 * configuration's version, and a forced one wins against any other of a lower version, whatever its term.
 */
export async function forceMajority(
  members: Members,
  request: PromoteRequest,
  view: OutsideReport,
  ctx: CallContext,
): Promise<void> {
  const { site, epoch } = request;
  const { config } = view;
  if (!config) throw failure('TargetUnreachable', `no member of MongoDB ${members.store} answers`);
  refuseUnlessAllowed(members, request, view, config);
  const chosen = newestAt(members.at(site), view.reports, config);
  if (!chosen) {
    throw failure(
      'PromotionFailed',
      `no member of ${members.store} at ${site} that could lead holds data and answers`,
      {
        data: 'Nothing was reconfigured; the old primary stays fenced.',
        next: `Start a member at ${site}, or restore ${members.store} from its backups.`,
      },
    );
  }
  const next = withoutTheSilent(members, view, config, { site, epoch, chosen });
  ctx.progress({ phase: `reconfiguring by force at ${chosen}`, note: hostsOf(next).join(', ') });
  const command = { replSetReconfig: next, force: true, maxTimeMS: RECONFIGURE_MILLISECONDS };
  await members.ask(chosen, (client) => client.db('admin').command(command), ASK_MILLISECONDS, ctx.signal);
  ctx.log.warn({ store: members.store, site, epoch, kept: hostsOf(next), by: request.force?.by }, 'forced');
}

function refuseUnlessAllowed(
  members: Members,
  { site, epoch, evidence, force }: PromoteRequest,
  view: OutsideReport,
  config: Document,
): void {
  const { store } = members;
  if (!force) {
    throw failure('MajorityLost', `MongoDB ${store} is not promoted at ${site}: ${noMajority(view, null)}`);
  }
  if (unprovenStores([store], evidence, { epoch, promotedSite: site }).length > 0) {
    throw failure(
      'FencingUnconfirmed',
      `MongoDB ${store} is not reconfigured by force: no proof that its primary is dead`,
      {
        data: 'Nothing was reconfigured. A primary that lives would go on beside the new one, and both would confirm writes.',
        next: 'Fence the old site so that it is proven (its agent or command, or stop its members by hand and see them gone), then retry.',
      },
    );
  }
  const fenced = evidence
    .filter((each) => each.strength === 'proven' && each.epoch === epoch && each.stores.includes(store))
    .map((each) => each.site);
  const unsure = hostsOf(config).filter(
    (host) => !view.answering.includes(host) && !fenced.includes(members.siteOf(host) ?? ''),
  );
  const { votes, total } = siteVotes(config, (host) => unsure.includes(host));
  if (2 * votes > total) {
    throw failure(
      'FencingUnconfirmed',
      `MongoDB ${store} is not reconfigured by force: ${unsure.join(', ')} do not answer, are at no site that is proven to be ` +
        `fenced, and have ${votes} of ${total} votes: they may have elected a primary`,
      { data: 'Nothing was reconfigured.', next: 'See that they are stopped, or bring one back; then retry.' },
    );
  }
  const heard = view.reports.find((report) => primarySeenBy(report) !== null);
  if (heard) {
    throw failure(
      'PromotionFailed',
      `MongoDB ${store} is not reconfigured by force: ${heard.member} hears of the primary ${primarySeenBy(heard)}`,
      { data: 'Nothing was reconfigured.' },
    );
  }
}

const isData = (each: Document) =>
  !each['arbiterOnly'] &&
  !each['hidden'] &&
  each['buildIndexes'] !== false &&
  !(Number(each['secondaryDelaySecs'] ?? 0) > 0);

/** The secondary of the site with the newest entry; one that is hidden or delayed on purpose does not count. */
function newestAt(ofSite: readonly string[], reports: readonly MemberReport[], config: Document): string | null {
  const may = (config['members'] as Document[]).filter(isData).map((each) => String(each['host']));
  const optime = ({ status }: MemberReport) => {
    const applied = status?.['optimes']['appliedOpTime'] as { t: unknown; ts: Timestamp } | undefined;
    return { term: Number(applied?.t ?? -1), at: applied?.ts.toBigInt() ?? 0n };
  };
  const found = reports
    .filter(({ member, status }) => status?.['myState'] === 2 && ofSite.includes(member) && may.includes(member))
    .map((report) => ({ member: report.member, ...optime(report) }));
  return found.toSorted((a, b) => b.term - a.term || (b.at > a.at ? 1 : -1))[0]?.member ?? null;
}

/** Those of the site get votes and the highest priorities, because no reconfiguration without force may have to follow. */
function withoutTheSilent(
  members: Members,
  view: OutsideReport,
  config: Document,
  { site, epoch, chosen }: { readonly site: string; readonly epoch: number; readonly chosen: string },
): Document {
  const all = config['members'] as Document[];
  const hostOf = (each: Document) => String(each['host']);
  const kept = all.filter((each) => view.answering.includes(hostOf(each)));
  const removed = Object.fromEntries(
    all.filter((each) => !kept.includes(each)).map((each) => [hostOf(each), Number(each['votes'] ?? 1)]),
  );
  const tag = leftBehindTag([...leftBehindBy(config), { epoch, votes: view.total, removed }]);
  const leads = (each: Document) => members.at(site).includes(hostOf(each)) && isData(each);
  const others = kept.filter((each) => !leads(each));
  const highest = Math.max(0, ...others.map((each) => Number(each['priority'] ?? 1)));
  const room = MOST_VOTERS - others.reduce((sum, each) => sum + Number(each['votes'] ?? 1), 0);
  const leading = kept.filter(leads).toSorted((a, b) => Number(hostOf(b) === chosen) - Number(hostOf(a) === chosen));
  const voters = leading.slice(0, Math.max(1, room)).map(hostOf);
  const member = (each: Document) => {
    if (!leads(each)) return each;
    const tags = { ...(each['tags'] as Document | undefined), ...tag };
    if (!voters.includes(hostOf(each))) return { ...each, tags, votes: 0, priority: 0 };
    return { ...each, tags, votes: 1, priority: highest + (hostOf(each) === chosen ? 2 : 1) };
  };
  return { ...config, version: Number(config['version']) + 1, members: kept.map(member) };
}
