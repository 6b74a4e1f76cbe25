import type { StoreProbe } from '../../../core/engine';
import type { CallContext } from '../../../core/call';
import { failure, findFailure } from '../../../core/errors';
import { LOOK_MILLISECONDS } from '../answer-within';
import { leftBehindProblem } from './left-behind';
import { currentGeneration, lineageOf } from './lineage';
import type { Members } from './members';
import { optimeFrom, replicaSetId } from './oplog';
import { positionOf } from './positions';
import type { MongoClient, Timestamp } from 'mongodb';

/** What the members of a site say; the primary speaks for the site where it is there, else a secondary. */
export async function probeSite(members: Members, site: string, ctx: CallContext): Promise<StoreProbe> {
  const deadline = Date.now() + LOOK_MILLISECONDS;
  const states = await members.hellos(members.at(site));
  const answered = states.filter((each) => each.hello !== null);
  const speaker =
    answered.find(({ hello }) => hello?.['isWritablePrimary']) ??
    answered.find(({ hello }) => hello?.['secondary']) ??
    answered[0];
  const problems = states.flatMap((each) =>
    each.hello === null && 'problem' in each ? [`${each.member}: ${each.problem}`] : [],
  );
  const base = { site, at: new Date().toISOString() };
  if (!speaker?.hello) {
    return {
      ...base,
      reachable: false,
      role: 'unknown',
      writable: null,
      identity: null,
      serverVersion: null,
      position: null,
      problems,
    };
  }
  const { hello, member } = speaker;
  const writable = hello['isWritablePrimary'] === true;
  const role =
    hello['setName'] === undefined
      ? 'standalone'
      : writable
        ? 'primary'
        : hello['secondary'] === true
          ? 'replica'
          : 'unknown';
  if (hello['setName'] !== members.settings.replicaSet) {
    problems.push(
      `${member} belongs to replica set ${hello['setName'] ?? '(none)'}, not to ${members.settings.replicaSet}: check replicaSet in the config`,
    );
  }
  try {
    const look = async (client: MongoClient): Promise<StoreProbe> => {
      const [{ id, config }, build] = await Promise.all([
        replicaSetId(client),
        client.db('admin').command({ buildInfo: 1 }),
      ]);
      const left = leftBehindProblem(config);
      if (left) problems.push(left);
      const newest = hello['lastWrite']?.['opTime']?.['ts'] as Timestamp | undefined;
      const position = newest
        ? positionOf(optimeFrom(newest), lineageOf(id, await currentGeneration(client, id)))
        : null;
      return {
        ...base,
        reachable: true,
        role,
        writable,
        identity: id,
        serverVersion: String(build['version']),
        position,
        problems,
      };
    };
    return await members.ask(member, look, deadline - Date.now(), ctx.signal);
  } catch (error) {
    if (ctx.signal.aborted && !findFailure(error)) throw error;
    problems.push(error instanceof Error ? error.message : String(error));
    return { ...base, reachable: true, role, writable, identity: null, serverVersion: null, position: null, problems };
  }
}

/**
 * The member to read from: a hidden or ordinary secondary of the site, the newest one; the primary only where the settings
 * allow it (or for a fingerprint, which must see the newest state).
 */
export async function chooseDumpMember(
  members: Members,
  site: string,
  primaryFirst = false,
): Promise<{ member: string; estimatedBytes: number | null }> {
  const states = await members.hellos(members.at(site));
  const wroteAt = (hello: { lastWrite?: { opTime?: { ts?: Timestamp } } } | null) =>
    hello?.lastWrite?.opTime?.ts?.toBigInt() ?? 0n;
  const secondaries = states
    .filter(({ hello }) => hello?.['secondary'] === true)
    .toSorted((a, b) => (wroteAt(b.hello) > wroteAt(a.hello) ? 1 : -1));
  const primary = states.find(({ hello }) => hello?.['isWritablePrimary'] === true);
  const chosen = primaryFirst
    ? (primary ?? secondaries[0])
    : (secondaries[0] ?? (members.settings.allowPrimary ? primary : undefined));
  if (!chosen) {
    const problems = states.flatMap((each) => ('problem' in each ? [`${each.member}: ${each.problem}`] : []));
    const only = primary ? `only the primary ${primary.member} answers, and allowPrimary is off` : problems.join('; ');
    throw failure(
      'TargetUnreachable',
      `no secondary of ${members.store} at site ${site} can be read: ${only || 'no member is a secondary'}`,
      {
        next: 'Start a secondary at the site, or set allowPrimary: true in the config.',
      },
    );
  }
  const { databases } = await members.withMember(chosen.member, (client) => client.db('admin').admin().listDatabases());
  const own = databases.filter(({ name }) => !['local', 'config'].includes(name));
  return { member: chosen.member, estimatedBytes: own.reduce((sum, { sizeOnDisk = 0 }) => sum + sizeOnDisk, 0) };
}
