import type { Document } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { FenceEvidence } from '../../../core/fencing';
import { refuseOlderEpoch } from './epoch';
import { noMajority } from './force';
import { holdOffLeftBehind } from './left-behind';
import type { Members } from './members';
import { pollUntil } from './poll';
import { askOutside, electionMilliseconds, hasMajority, type MemberReport, primarySeenBy, siteVotes } from './votes';

/** How long a fenced member may not stand for election; the fence is repeated or made needless by the promotion before. */
const FREEZE_SECONDS = 600;
/** A leader waits up to ten seconds for its successor to catch up (`secondaryCatchUpPeriodSecs`). */
const STEP_DOWN_MILLISECONDS = 13_000;
/** Beyond the election timeout of the set: two rounds of voting and a connection that times out. */
const ELECTION_GRACE_MILLISECONDS = 8_000;

/**
 * What counts as a proof here. MongoDB's own fence is the term: a member that voted in term T durably refuses everything of
 * earlier terms. So when a primary of the surviving side was elected in term T and members with a majority of the votes, each
 * asked itself, are in term T and see that primary, then no write of an older term can ever be majority-committed, whatever the
 * old primary believes; what it still accepts with `w: 1` is rolled back when it returns. That is *proven*.
 *
 * No proof: that the old site does not answer, to us or to the majority (it may answer again in a second and still lead), that
 * its members are a minority, or that they were asked to step down. Nor is a term one for members that a forced
 * reconfiguration left behind: with the old configuration they elect by themselves, so that the evidence is *none* until so
 * many of them know of the newer one that the rest is no majority. Before an election nothing durable stands against the old
 * primary, so the evidence is then *weak* (a majority survives and sees no primary of the site) or *none*.
 */
export async function fenceSite(
  members: Members,
  site: string,
  survivingSite: string,
  epoch: number,
  ctx: CallContext,
): Promise<FenceEvidence> {
  const base = { site, stores: [members.store], epoch, by: 'mongodb' };
  // Together, because a silent site keeps both waiting.
  const [states] = await Promise.all([
    members.hellos(members.at(site)),
    refuseOlderEpoch(members, [site, survivingSite], epoch),
  ]);
  let asked = await stepDown(members, states);
  const first = await survey(members, site, survivingSite);
  const deadline = Date.now() + electionMilliseconds(first.config) + ELECTION_GRACE_MILLISECONDS;
  let last = first;
  const proof = await pollUntil(deadline, ctx.signal, async () => {
    ctx.progress({ phase: 'waiting for the surviving majority to elect', note: last.how });
    last = await survey(members, site, survivingSite);
    if (last.sitePrimary) asked = await stepDown(members, await members.hellos(members.at(site)));
    return last.proven || !last.hasMajority ? last : null;
  });
  const found = proof ?? last;
  // The term of the new set says nothing to members that were left with the old configuration.
  const left = found.config ? await holdOffLeftBehind(members, found.config) : NOBODY_LEFT;
  const { strength, how } = left.mayElect ? { strength: 'none' as const, how: found.how } : verdict(found);
  const said = [`${how}${asked}`, left.how].filter((each) => each !== '').join('; ');
  const { mustForce } = found;
  return { ...base, strength, at: new Date().toISOString(), how: said, ...(mustForce ? { mustForce } : {}) };
}

const NOBODY_LEFT = { mayElect: false, how: '' };

interface Survey {
  readonly config: Document | null;
  readonly proven: boolean;
  readonly hasMajority: boolean;
  readonly sitePrimary: boolean;
  readonly how: string;
  /** Null while a majority could elect. */
  readonly mustForce: string | null;
}

function verdict(found: Survey): Pick<FenceEvidence, 'strength' | 'how'> {
  if (found.proven) return { strength: 'proven', how: found.how };
  if (found.hasMajority && !found.sitePrimary) return { strength: 'weak', how: found.how };
  return { strength: 'none', how: found.how };
}

/** Asks every member outside the fenced site, one by one. */
async function survey(members: Members, site: string, survivingSite: string): Promise<Survey> {
  const outside = (host: string) => members.siteOf(host) !== site;
  const asked = await askOutside(members, site);
  const { config, reports, votes, total } = asked;
  if (!config) {
    const how = `no member outside ${site} answers`;
    return { config, proven: false, hasMajority: false, sitePrimary: false, how, mustForce: null };
  }
  const newestTerm = Math.max(...reports.map(termOf));
  const agreed = reports.filter((report) => termOf(report) === newestTerm);
  const leader = agreed.map(primarySeenBy).find((host) => host !== null && outside(host)) ?? null;
  const leads = leader !== null && reports.some(({ member, status }) => member === leader && status?.['myState'] === 1);
  const backers = agreed.filter((report) => primarySeenBy(report) === leader).map(({ member }) => member);
  const backing = siteVotes(config, (host) => backers.includes(host));
  const sitePrimary = reports.some((report) => {
    const seen = primarySeenBy(report);
    return seen !== null && !outside(seen);
  });
  const proven = leads && backing.votes > backing.total / 2;
  const how = proven
    ? `${backing.votes} of ${total} votes outside ${site} are in term ${newestTerm} with ${leader} as primary: no older term can commit`
    : `${votes} of ${total} votes outside ${site} answer${leader ? `, primary ${leader}` : sitePrimary ? `, and see a primary at ${site}` : ', no primary elected yet'} (surviving site ${survivingSite})`;
  const mustForce = hasMajority(asked) ? null : noMajority(asked, site);
  return { config, proven, hasMajority: mustForce === null, sitePrimary, how, mustForce };
}

/**
 * Where the site's members answer: first let none of the followers stand for election, then let the primary hand over (it
 * would hand over to a follower of its own site). Told in the evidence, proves nothing.
 */
async function stepDown(members: Members, states: Awaited<ReturnType<Members['hellos']>>): Promise<string> {
  const ask = async (member: string, command: Document, done: string) => {
    try {
      await members.ask(member, (client) => client.db('admin').command(command), STEP_DOWN_MILLISECONDS);
      return `${member} ${done}`;
    } catch (error) {
      return `${member} did not: ${error instanceof Error ? error.message : String(error)}`;
    }
  };
  const followers = states.filter(({ hello }) => hello?.['secondary'] === true);
  const leaders = states.filter(({ hello }) => hello?.['isWritablePrimary'] === true);
  const frozen = await Promise.all(
    followers.map(({ member }) => ask(member, { replSetFreeze: FREEZE_SECONDS }, 'is frozen')),
  );
  const handOver = { replSetStepDown: FREEZE_SECONDS, secondaryCatchUpPeriodSecs: 10 };
  const down = await Promise.all(leaders.map(({ member }) => ask(member, handOver, 'stepped down')));
  return [...frozen, ...down].map((each) => `; ${each}`).join('');
}

function termOf({ status }: MemberReport): number {
  return Number(status?.['term'] ?? -1);
}
