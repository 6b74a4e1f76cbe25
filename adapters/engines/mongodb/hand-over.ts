import { type Document, Long, type MongoClient, type Timestamp } from 'mongodb';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { Following, FollowRequest, HandOver, HandOverRequest } from '../../../core/hand-over';
import { refuseOlderEpoch } from './epoch';
import { fenceSite } from './fence';
import { currentGeneration, lineageOf } from './lineage';
import type { Members } from './members';
import { optimeFrom, replicaSetId, timestampOf } from './oplog';
import { compareOptimes, type Optime, positionOf } from './positions';
import { pollUntil } from './poll';
import { askOutside, leaderOf } from './votes';
import { thaw } from './thaw';

/** A member that stepped down finds its new source within a heartbeat or two. */
const FOLLOW_MILLISECONDS = 20_000;
/** The new term's first entries are few: what is looked for is at the end of the oplog. */
const LOOK_MILLISECONDS = 5_000;

/**
 * The primary steps down without force, which it only does once another member has everything (`secondaryCatchUpPeriodSecs`),
 * and none of its site may stand for election. The proof is read from the oplogs afterwards: the newest entry of an older
 * term at any member of the old site is in the new primary's oplog as well, and none of them has rolled anything back since
 * (`rbid`). So nothing is lost that was acknowledged with `w: 1` either.
 */
export async function handOverSet(
  members: Members,
  { fromSite, toSite, epoch, withinSeconds }: HandOverRequest,
  ctx: CallContext,
): Promise<HandOver> {
  const deadline = Date.now() + withinSeconds * 1_000;
  const before = await rollbacks(members, fromSite);
  const evidence = await fenceSite(members, fromSite, toSite, epoch, ctx);
  if (evidence.strength !== 'proven')
    throw failure('HandOverIncomplete', `${members.store} was not handed over from ${fromSite}: ${evidence.how}`);
  const leader = leaderOf(await askOutside(members, null));
  if (!leader) throw failure('HandOverIncomplete', `no primary of ${members.store} is elected`);
  const final = await newestOfOlderTerm(members, fromSite, leader.term);
  const found = await pollUntil(deadline, ctx.signal, () =>
    members.ask(leader.member, (client) => reach(client, final)),
  );
  await requireNoRollback(members, fromSite, before, { ctx, deadline });
  if (!found) {
    const why = `${leader.member} has no entry ${final.seconds}:${final.increment} of the old primary at ${fromSite}`;
    throw failure('HandOverIncomplete', `${members.store}: ${why}`);
  }
  const { reached, lineage } = found;
  return {
    store: members.store,
    final: positionOf(final, lineage),
    reached: positionOf(reached, lineage),
    at: new Date().toISOString(),
    how: `stepped down after ${final.seconds}:${final.increment}, which ${leader.member} (term ${leader.term}) has; nothing was rolled back`,
    evidence,
  };
}

/** The rollback id of each member of the site that answers. */
async function rollbacks(members: Members, site: string): Promise<ReadonlyMap<string, number>> {
  const ids = new Map<string, number>();
  const ask = async (client: MongoClient) => client.db('admin').command({ serverStatus: 1, wiredTiger: 0, locks: 0 });
  await Promise.all(
    members.at(site).map(async (member) => {
      const answer = await members.ask(member, ask).catch(() => null); // one that is down has nothing to hand over now
      const id = (answer?.['repl'] as Document | undefined)?.['rbid'] as number | undefined;
      if (id !== undefined) ids.set(member, id);
    }),
  );
  if (ids.size > 0) return ids;
  throw failure('TargetUnreachable', `no member of ${members.store} at ${site} answers`);
}

/** Not to be tried again by itself: a second look would find both sides alike, after the loss. */
async function requireNoRollback(
  members: Members,
  site: string,
  before: ReadonlyMap<string, number>,
  { ctx, deadline }: { readonly ctx: CallContext; readonly deadline: number },
): Promise<void> {
  const after = await pollUntil(deadline, ctx.signal, async () => {
    const now = await rollbacks(members, site);
    return [...before.keys()].every((member) => now.has(member)) ? now : null;
  });
  if (!after) throw failure('HandOverIncomplete', `not every member of ${members.store} at ${site} answers any more`);
  const changed = [...before].filter(([member, id]) => after.get(member) !== id).map(([member]) => member);
  if (changed.length === 0) return;
  throw failure('VerificationFailed', `${members.store}: ${changed.join(', ')} rolled back writes`, {
    data: 'Nothing was promoted. Writes with w: 1 were taken back; they are in the rollback folder of the member.',
    next: 'Look at the rollback folder, then abort, or retry to go on without what is there.',
  });
}

async function newestOfOlderTerm(members: Members, site: string, term: number): Promise<Optime> {
  const look = async (client: MongoClient): Promise<Optime | null> => {
    const entries = client.db('local').collection('oplog.rs');
    const options = { sort: { $natural: -1 as const }, limit: 1, projection: { ts: 1 }, maxTimeMS: LOOK_MILLISECONDS };
    const entry = await entries.find({ t: { $lt: Long.fromNumber(term) } }, options).next();
    return entry ? optimeFrom(entry['ts'] as Timestamp) : null;
  };
  const answers = await Promise.all(
    members.at(site).map((member) => members.ask(member, look, LOOK_MILLISECONDS).catch(() => null)), // judged together below
  );
  const newest = answers
    .filter((each) => each !== null)
    .toSorted(compareOptimes)
    .at(-1);
  if (newest) return newest;
  throw failure('TargetUnreachable', `no member of ${members.store} at ${site} says where it ended`);
}

/** The new primary's own end, if it has the entry; null where it does not. */
async function reach(client: MongoClient, final: Optime): Promise<{ reached: Optime; lineage: string } | null> {
  const entries = client.db('local').collection('oplog.rs');
  const options = { sort: { $natural: -1 as const }, limit: 1, projection: { ts: 1 } };
  const ts = { ts: timestampOf(final) };
  const [held, newest] = await Promise.all([
    entries.findOne(ts, { projection: { ts: 1 }, maxTimeMS: LOOK_MILLISECONDS }),
    entries.find({}, options).next(),
  ]);
  if (!held || !newest) return null;
  const { id } = await replicaSetId(client);
  return {
    reached: optimeFrom(newest['ts'] as Timestamp),
    lineage: lineageOf(id, await currentGeneration(client, id)),
  };
}

/** Members that stepped down follow by themselves; they may stand for election again, with the lower priority they have now. */
export async function followSet(
  members: Members,
  { site, primarySite, epoch }: FollowRequest,
  ctx: CallContext,
): Promise<Following> {
  await refuseOlderEpoch(members, [site, primarySite], epoch);
  let seen: string[] = [];
  const followers = await pollUntil(Date.now() + FOLLOW_MILLISECONDS, ctx.signal, async () => {
    const states = await members.hellos(members.at(site));
    const following = states.filter(
      ({ hello }) => hello?.['secondary'] === true && members.at(primarySite).includes(String(hello['primary'])),
    );
    seen = states
      .filter((each) => !following.includes(each))
      .map(({ member, hello }) => `${member} ${hello ? `follows ${hello['primary'] ?? 'nobody'}` : 'does not answer'}`);
    ctx.progress({ phase: `waiting for the members at ${site}`, note: seen.join(', ') });
    return following.length === states.length ? following : null;
  });
  const { store } = members;
  if (!followers) return { store, site, follows: false, how: `${seen.join(', ')}: see the log of these members` };
  await Promise.all(followers.map(({ member }) => members.withMember(member, thaw)));
  return { store, site, follows: true, how: `${followers.map(({ member }) => member).join(', ')} follow` };
}
