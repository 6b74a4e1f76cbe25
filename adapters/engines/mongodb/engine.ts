import type { Engine, StoreProbe } from '../../../core/engine';
import { failure } from '../../../core/errors';
import { dumpMember } from './dump';
import { fingerprintServer } from './fingerprint';
import { restoredHeartbeat } from './heartbeat';
import { archiveLog } from './log-archiver';
import { logEnd } from './log-end';
import { logReach } from './log-reach';
import { Members } from './members';
import { naming, positions } from './positions';
import { planRestore, recoveryWindows } from './plan-restore';
import { chooseDumpMember, probeSite } from './probe';
import { createReplication } from './replication';
import { createRestore } from './restore';
import { withRestored } from './restored-server';
import type { MongodbSettings } from './settings';

/** One MongoDB replica set whose members live at the application's sites. Sharded clusters are refused. */
export function createMongodbEngine({
  store,
  settings,
}: {
  readonly store: string;
  readonly settings: MongodbSettings;
}): Engine<'mongodb'> {
  const members = new Members(store, settings);
  return {
    kind: 'mongodb',
    contentAges: true,
    store,
    artifactKind: (type) => type,
    positions,
    replication: createReplication(members),
    checks: null,
    restore: createRestore(store, settings.toolsDirectory),
    // The archive notes the newest change of each piece, whoever made it: of heartbeats it knows nothing.
    heartbeat: { in: restoredHeartbeat },
    log: {
      naming,
      reach: logReach,
      end: (site) => members.withSet((client) => logEnd(client, site), [...members.at(site), ...members.all()]),
      archive: (request, archive, onDurable, ctx) =>
        // The active site's members first: the log is read near the writes, and the heartbeat goes to the primary anyway.
        members.withSet(
          (client) => archiveLog(client, request, archive, onDurable, ctx),
          [...members.at(request.site), ...members.all()],
        ),
      // An oplog is kept by size and time whoever reads it, so an archiver leaves nothing at the source.
      release: async () => {},
    },
    probe: (site, ctx): Promise<StoreProbe> => probeSite(members, site, ctx),
    async planDump({ backupId, site }) {
      const { member, estimatedBytes } = await chooseDumpMember(members, site);
      return { backupId, type: 'full', typeReason: null, parent: null, source: { site, member }, estimatedBytes };
    },
    async dump(plan, _parent, sink, ctx) {
      const source = { store, ...plan.source };
      return members.withMember(source.member, (client) => dumpMember(client, source, sink, ctx));
    },
    planRestore: (target, catalog, ctx) => planRestore(store, target, catalog, ctx),
    windows: recoveryWindows,
    async fingerprint(of, ctx) {
      if ('site' in of) {
        const { member } = await chooseDumpMember(members, of.site, true);
        return members.withMember(member, (client) => fingerprintServer(client, ctx));
      }
      if (!of.address) throw failure('NotFound', `no restored server of ${store} is named`);
      return withRestored(of.address, (client) => fingerprintServer(client, ctx));
    },
  };
}
