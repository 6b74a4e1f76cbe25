import type { Document, MongoClient, Timestamp } from 'mongodb';
import type { Replication } from '../../../core/roles';
import { failure } from '../../../core/errors';
import type { ReplicaState } from '../../../core/replication';
import { currentEpoch, refuseOlderEpoch } from './epoch';
import { fenceSite } from './fence';
import { setFenceOutlook } from './fence-outlook';
import { noMajority } from './force';
import { followSet, handOverSet } from './hand-over';
import { currentGeneration, lineageOf, OWN_DATABASE } from './lineage';
import type { Members } from './members';
import { optimeFrom, replicaSetId } from './oplog';
import { positionOf } from './positions';
import { promoteSite } from './promote';
import { thawSite } from './thaw';
import { askOutside, hasMajority } from './votes';

export function createReplication(members: Members): Replication {
  return {
    electsItself: true,
    async sample(primarySite, standbySite) {
      const [primary, standby] = await Promise.all([
        sideState(members, primarySite, 'primary'),
        sideState(members, standbySite, 'any'),
      ]);
      const problem = [
        ...(primary ? [] : [`no primary answers at ${primarySite}`]),
        ...(standby ? [] : [`no member answers at ${standbySite}`]),
      ].join('; ');
      return {
        store: members.store,
        takenAt: new Date().toISOString(),
        primary,
        standby,
        problem: problem || null,
      };
    },
    state: (site) => sideState(members, site, 'any'),
    fence: (site, survivingSite, epoch, ctx) => fenceSite(members, site, survivingSite, epoch, ctx),
    async unfence(site, epoch) {
      await refuseOlderEpoch(members, [site], epoch);
      // Members may be led again at once; nothing else was changed by the fence.
      await thawSite(members, site);
    },
    handOver: (request, ctx) => handOverSet(members, request, ctx),
    follow: (request, ctx) => followSet(members, request, ctx),
    async divergence(oldSite) {
      throw failure(
        'RoleMismatch',
        `what ${members.store} has lost cannot be read: a member of ${oldSite} that comes back takes back by itself what no ` +
          'majority had, and keeps it below `rollback` in its data directory; nothing that a majority acknowledged is lost',
      );
    },
    promote: (request, ctx) => promoteSite(members, request, ctx),
    epoch: (site) => currentEpoch(members, site),
    async obstacles(site, lostSite) {
      const { reports } = await askOutside(members, lostSite);
      const here = reports.some(({ member, status }) => members.at(site).includes(member) && canLead(status));
      return here ? [] : [`no member at ${site} is a secondary that could lead`];
    },
    fenceOutlook: (site) => setFenceOutlook(members, site),
    async mustForce(_site, lostSite) {
      const asked = await askOutside(members, lostSite);
      // Where nobody answers there is nothing to force either: the look at the standby says so.
      return asked.config === null || hasMajority(asked) ? null : noMajority(asked, lostSite);
    },
    async writeProbe(site, marker, ctx) {
      const startedAt = Date.now();
      const [primary] = (await members.hellos(members.at(site))).filter(
        ({ hello }) => hello?.['isWritablePrimary'] === true,
      );
      if (!primary) throw failure('RoleMismatch', `MongoDB ${members.store} has no writable primary at ${site}`);
      const read = await members.withSet(async (client) => writeAndRead(client, marker), [primary.member]);
      ctx.progress({ phase: 'writing through MongoDB' });
      if (read !== marker)
        throw failure('VerificationFailed', `MongoDB ${members.store} at ${site} did not give back what was written`);
      return { site, at: new Date().toISOString(), marker, roundTripMilliseconds: Date.now() - startedAt };
    },
  };
}

/** PRIMARY or SECONDARY, by the member's own word. */
const canLead = (status: Document | null) => status?.['myState'] === 1 || status?.['myState'] === 2;

/** A linearizable read proves that the server that answers still leads: a deposed one cannot answer it. */
async function writeAndRead(client: MongoClient, marker: string): Promise<string | null> {
  const probes = client.db(OWN_DATABASE).collection<{ _id: string; marker: string }>('write_probe');
  await probes.updateOne(
    { _id: 'probe' },
    { $set: { marker } },
    { upsert: true, writeConcern: { w: 'majority', wtimeoutMS: 10_000 } },
  );
  const found = await probes.findOne({ _id: 'probe' }, { readConcern: { level: 'linearizable' }, maxTimeMS: 10_000 });
  return found?.marker ?? null;
}

/** The site's primary, or its newest member; null when none of them answers. */
async function sideState(members: Members, site: string, wanted: 'primary' | 'any'): Promise<ReplicaState | null> {
  const states = await members.hellos(members.at(site));
  const wroteAt = (hello: Document | null) =>
    (hello?.['lastWrite']?.['opTime']?.['ts'] as Timestamp | undefined)?.toBigInt() ?? 0n;
  const candidates = states.filter(
    ({ hello }) => hello?.['isWritablePrimary'] || (wanted === 'any' && hello?.['secondary']),
  );
  const [best] = candidates.toSorted((a, b) => (wroteAt(b.hello) > wroteAt(a.hello) ? 1 : -1));
  if (!best) return null;
  try {
    return await members.ask(best.member, (client) => memberState(client, site));
  } catch {
    return null; // it died between two questions: not measured, which is what null says
  }
}

async function memberState(client: MongoClient, site: string): Promise<ReplicaState> {
  const admin = client.db('admin');
  const at = new Date().toISOString();
  const [{ id }, status, server] = await Promise.all([
    replicaSetId(client),
    admin.command({ replSetGetStatus: 1 }),
    admin.command({ serverStatus: 1, repl: 0, wiredTiger: 0, tcmalloc: 0, locks: 0 }),
  ]);
  const answeredAt = new Date().toISOString();
  const applied = status['optimes']['appliedOpTime']['ts'] as Timestamp;
  const wall = status['optimes']['lastAppliedWallTime'] as Date;
  // Asked of this member by clients; a secondary applies them without counting, so only the primary's mean something.
  const operations = status['myState'] === 1 ? changesAsked(server) : null;
  const position = positionOf(optimeFrom(applied), lineageOf(id, await currentGeneration(client, id)));
  const serverAt = (status['date'] as Date).toISOString();
  return { site, at, answeredAt, serverAt, position, bytes: null, operations, appliedUntil: wall.toISOString() };
}

/**
 * At least the number of documents that were changed. An upsert that inserts is in none of the counters of documents (tried
 * on 6.0), so that every statement that may be one is counted besides: an update counts twice, a lost change never not at all.
 */
function changesAsked(server: Document): number {
  const { document: documents, commands } = server['metrics'] as { document: Document; commands: Document };
  const changed = Number(documents['inserted']) + Number(documents['updated']) + Number(documents['deleted']);
  return changed + Number(server['opcounters']['update']) + Number(commands['findAndModify']['total']);
}
