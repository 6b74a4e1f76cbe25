import type { Document, MongoClient } from 'mongodb';
import { failure } from '../../../core/errors';
import type { FenceOutlook } from '../../../core/fencing';
import { noMajority } from './force';
import type { Members } from './members';
import { askOutside, hasMajority } from './votes';

/** What moving a set asks of the account, on the cluster, and the role that has it. */
const NEEDED = [
  ['replSetStateChange', 'members cannot be frozen and stepped down'],
  ['replSetConfigure', 'the priorities of its members cannot be changed'],
  ['replSetGetStatus', 'its members do not say what they have'],
  ['replSetGetConfig', 'its members do not say who belongs to the set'],
] as const;

/** The rights that `fenceSite` and `handOverSet` need, and whether the others are a majority that can elect. */
export async function setFenceOutlook(members: Members, site: string): Promise<FenceOutlook> {
  const states = await members.hellos(members.at(site));
  const asked = states.find(({ hello }) => hello !== null)?.member;
  if (asked === undefined) throw failure('TargetUnreachable', `no member of ${members.store} at ${site} answers`);
  const [lacking, outside] = await Promise.all([members.ask(asked, rightsLacking), askOutside(members, site)]);
  if (outside.config === null || !hasMajority(outside)) {
    const how = outside.config === null ? `no member outside ${site} answers` : noMajority(outside, site);
    return { strength: 'none', how, lacking, handOverLacks: [...lacking, how] };
  }
  const how = `${outside.votes} of ${outside.total} votes outside ${site} would elect: no older term could commit`;
  return { strength: 'proven', how, lacking, handOverLacks: lacking };
}

async function rightsLacking(client: MongoClient): Promise<string[]> {
  const { authInfo } = await client.db('admin').command({ connectionStatus: 1, showPrivileges: true });
  const { authenticatedUsers, authenticatedUserPrivileges } = authInfo as {
    authenticatedUsers: { user: string }[];
    authenticatedUserPrivileges: Document[];
  };
  const [user] = authenticatedUsers;
  if (!user) return []; // a set without logins lets everybody do everything
  const held = authenticatedUserPrivileges
    .filter(
      ({ resource }) => (resource as Document)['cluster'] === true || (resource as Document)['anyResource'] === true,
    )
    .flatMap(({ actions }) => actions as string[]);
  return NEEDED.filter(([action]) => !held.includes(action) && !held.includes('anyAction')).map(
    ([action, why]) => `${why}: ${user.user} lacks ${action} (role clusterManager, db admin)`,
  );
}
