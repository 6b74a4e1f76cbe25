import type { CallContext } from '../../../core/call';
import type { Divergence } from '../../../core/divergence';
import { failure, reasonOf } from '../../../core/errors';
import { addressOf, withClient } from './connection';
import { lostChanges, type LostRange } from './lost-changes';
import { formatLsn, lineageOf, positionAt } from './lsn';
import { ReplicationConnection } from './replication-connection';
import { readFacts } from './server-facts';
import type { PostgresqlSite } from './settings';
import { parseHistory } from './timeline-history';

/** The new timeline's own history says where it left the old one; the old primary says how far it has written. */
export async function divergenceOf(
  store: string,
  { from, to }: { readonly from: PostgresqlSite; readonly to: PostgresqlSite },
  ctx: CallContext,
): Promise<Divergence> {
  const facts = (site: PostgresqlSite) =>
    withClient(site, (client) => readFacts(client, addressOf(site)), { signal: ctx.signal });
  const [old, now] = await Promise.all([facts(from), facts(to)]);
  const cannot = (why: string) => failure('RoleMismatch', `what ${store} has lost cannot be read: ${why}`);
  if (now.inRecovery) throw cannot(`${addressOf(to)} is a standby`);
  if (old.inRecovery) throw cannot(`${addressOf(from)} is a standby: what it had of its own is gone`);
  const fork = now.systemId === old.systemId ? await leftAt(to, now.timeline, old.timeline, ctx) : null;
  if (fork === null) throw cannot(`${addressOf(to)} did not begin where ${addressOf(from)} was`);
  const lineage = lineageOf(old.systemId, old.timeline);
  const range = { timeline: old.timeline, fork, end: old.lsn, segmentBytes: old.segmentBytes };
  const changes = old.lsn > fork ? await readChanges(from, range, ctx) : { operations: 0, seconds: 0, how: '' };
  return {
    store,
    fork: positionAt(lineage, fork),
    end: positionAt(lineage, old.lsn),
    bytes: old.lsn > fork ? Number(old.lsn - fork) : 0,
    operations: changes.operations,
    seconds: changes.seconds,
    how:
      `timeline ${now.timeline} of ${addressOf(to)} left timeline ${old.timeline} at ${formatLsn(fork)}; ` +
      `${addressOf(from)} has written up to ${formatLsn(old.lsn)}, with what it wrote for itself (checkpoints, the fence)${changes.how}`,
  };
}

/** How much is lost is known without it: what keeps the log from being read is said, and leaves the rest unknown. */
async function readChanges(
  site: PostgresqlSite,
  range: LostRange,
  ctx: CallContext,
): Promise<{ operations: number | null; seconds: number | null; how: string }> {
  try {
    const found = await lostChanges(site, range, ctx);
    return { ...found, how: `; changes are the transactions committed there behind that, without drctl's own` };
  } catch (error) {
    ctx.signal.throwIfAborted();
    return { operations: null, seconds: null, how: `; its log could not be read: ${reasonOf(error)}` };
  }
}

/** Null where the old timeline is none of its ancestors. */
async function leftAt(site: PostgresqlSite, timeline: number, old: number, ctx: CallContext): Promise<bigint | null> {
  if (timeline <= old) return null;
  const connection = await ReplicationConnection.open(site, ctx);
  try {
    const [, content] = (await connection.query(`TIMELINE_HISTORY ${timeline}`))[0] as [string, string];
    const switches = parseHistory(content, timeline, addressOf(site));
    return switches.find((each) => each.timeline === old)?.switchLsn ?? null;
  } finally {
    await connection.close();
  }
}
