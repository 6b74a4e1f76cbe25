import type { Document } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { PromoteRequest, PromoteResult } from '../../../core/roles';
import { failure, hasCode } from '../../../core/errors';
import { unfencedStores } from '../../../core/fencing';
import { noteEpoch, readEpoch, refuseOlderEpoch } from './epoch';
import { forceMajority } from './force';
import { forcedBy } from './left-behind';
import { currentGeneration, lineageOf } from './lineage';
import type { Members } from './members';
import { newestCommitted, replicaSetId } from './oplog';
import { positionOf } from './positions';
import { pollUntil } from './poll';
import { askOutside, electionMilliseconds, hasMajority, leaderOf, NOBODY, type OutsideReport, statusOf } from './votes';

/** An election, a priority takeover after catching up (one more election timeout), and as much again in reserve. */
const LEADER_MILLISECONDS = 60_000;

/**
 * Waits until a member of the site leads and makes that last: the site's members get the highest priority, so that a lost
 * site that returns does not take the role back. Without a majority nothing is forced (MajorityLost) unless the request
 * says that an approver attests it; a repeated call finds what an earlier one has forced and goes on from there.
 */
export async function promoteSite(members: Members, request: PromoteRequest, ctx: CallContext): Promise<PromoteResult> {
  const { site, epoch, evidence } = request;
  if (unfencedStores([members.store], evidence, { epoch, promotedSite: site }).length > 0) {
    throw failure(
      'FencingUnconfirmed',
      `MongoDB ${members.store} is not promoted at ${site}: no proof that its old primary is fenced`,
    );
  }
  await refuseOlderEpoch(members, [site], epoch);
  const before = await leaderAt(members, site);
  let search = await awaitLeader(members, site, ctx);
  if (!search.leader && search.majorityLost) {
    await forceMajority(members, request, search.view, ctx);
    search = await awaitLeader(members, site, ctx);
  }
  const { leader } = search;
  if (!leader) {
    const states = (await statusOf(members, members.all())).map(
      ({ member, status }) => `${member} ${stateName(status)}`,
    );
    throw failure(
      'PromotionFailed',
      `no member of ${members.store} at ${site} leads after ${LEADER_MILLISECONDS / 1_000} s: ${search.last}; ${states.join(', ')}`,
      {
        next: 'A majority of votes must answer and a member of the site must be up to date; then let the step be tried again.',
      },
    );
  }
  return members.withSet(
    async (client) => {
      const already = before === leader && (await readEpoch(client)) === epoch;
      await noteEpoch(client, epoch, site);
      const { id, config } = await replicaSetId(client);
      const { optime } = await newestCommitted(client);
      const position = positionOf(optime, lineageOf(id, await currentGeneration(client, id)));
      const forced = forcedBy(config, epoch);
      return { site, position, promotedAt: new Date().toISOString(), already, ...(forced ? { forced } : {}) };
    },
    [leader],
  );
}

interface Search {
  readonly leader: string | null;
  readonly majorityLost: boolean;
  readonly view: OutsideReport;
  /** What was seen at the end, in words. */
  readonly last: string;
}

/** Until a member of the site leads; sooner where those that answer have been no majority for an election's time. */
async function awaitLeader(members: Members, site: string, ctx: CallContext): Promise<Search> {
  let last = 'no member answers';
  let view = NOBODY;
  let lostSince: number | null = null;
  const found = await pollUntil(Date.now() + LEADER_MILLISECONDS, ctx.signal, async () => {
    ctx.progress({ phase: `waiting for a primary at ${site}`, note: last });
    view = await askOutside(members, null);
    const seen = leaderOf(view);
    last = seen ? `the primary is ${seen.member}` : 'no primary is elected';
    // A member that restarts is away for a moment: what is forced cannot be taken back, so that one is waited for.
    lostSince = seen || !view.config || hasMajority(view) ? null : (lostSince ?? Date.now());
    if (lostSince !== null && Date.now() - lostSince >= electionMilliseconds(view.config)) return { leader: null };
    try {
      if (seen) await prefer(members, seen.member, site);
    } catch (error) {
      if (!hasCode(error, 'TargetUnreachable')) throw error;
      last = (error as Error).message; // it lost the role between two questions: whoever leads next is asked
      return null;
    }
    return seen && members.at(site).includes(seen.member) ? { leader: seen.member } : null;
  });
  return { leader: found?.leader ?? null, majorityLost: found !== null && found.leader === null, view, last };
}

async function leaderAt(members: Members, site: string): Promise<string | null> {
  const states = await members.hellos(members.at(site));
  return states.find(({ hello }) => hello?.['isWritablePrimary'] === true)?.member ?? null;
}

/** Gives the site's members that hold data the highest priority; nothing is written when they have it. */
async function prefer(members: Members, primary: string, site: string): Promise<void> {
  await members.withMember(primary, async (client) => {
    const { config } = await replicaSetId(client);
    const all = config['members'] as Document[];
    const ofSite = (each: Document) =>
      members.at(site).includes(String(each['host'])) && !each['arbiterOnly'] && !each['hidden'];
    const highestElsewhere = Math.max(
      0,
      ...all.filter((each) => !ofSite(each)).map((each) => Number(each['priority'] ?? 1)),
    );
    if (all.filter(ofSite).every((each) => Number(each['priority'] ?? 1) > highestElsewhere)) return;
    const raised = all.map((each) => (ofSite(each) ? { ...each, priority: highestElsewhere + 1 } : each));
    const next = { ...config, version: Number(config['version']) + 1, members: raised };
    await client.db('admin').command({ replSetReconfig: next, maxTimeMS: 10_000 });
  });
}

function stateName(status: Document | null): string {
  return status === null
    ? 'does not answer'
    : String((status['members'] as Document[]).find((each) => each['self'])?.['stateStr'] ?? 'unknown');
}
