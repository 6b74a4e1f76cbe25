import type { PreparedBackup } from '../../activities/backup';
import { taskQueues } from '../../core/names';
import { shop } from './shop-application';
import type { FakeActivities } from './workflow-environment';

/** A pretended outside world for backups: it remembers what was asked of it, in order. */
export interface FakeBackupWorld {
  readonly calls: string[];
  /** The backups whose attempts were swept, in order. */
  readonly swept: string[];
  readonly activities: FakeActivities;
  mode: 'spool' | 'stream';
  /** The host whose queue `prepareBackup` names. */
  host: string;
  activeSite: string;
  epoch: number;
  /** Called before each activity of the name; throws, or waits, to make it fail or hang. */
  before: Partial<Record<string, () => void | Promise<void>>>;
}

const at = '2026-01-01T00:00:00.000Z';

export function fakeBackupWorld(): FakeBackupWorld {
  const world: FakeBackupWorld = {
    calls: [],
    swept: [],
    activities: {},
    mode: 'spool',
    host: 'h1',
    activeSite: 'primary',
    epoch: 0,
    before: {},
  };
  const note = async (name: string, what = '') => {
    world.calls.push(what ? `${name}:${what}` : name);
    await world.before[name]?.();
  };
  const uploaded = { attempt: 1, artifacts: 2, storedBytes: 1_000, contentBytes: 3_000 };
  Object.assign(world.activities, {
    describeApplication: async () => ({
      application: { ...shop, backup: { ...shop.backup, mode: world.mode } },
      activeSite: world.activeSite,
      epoch: world.epoch,
    }),
    prepareBackup: async ({ store, type, site, refused }) => {
      await note('prepareBackup', `${store}@${site}`);
      const backupId = `20260101T000000Z-${type}-00000001`;
      const prepared: PreparedBackup = {
        application: shop.name,
        ref: { store, backupId, kind: type },
        plan: {
          backupId,
          type,
          typeReason: refused ? `incremental asked, full taken: ${refused}` : null,
          parent: type === 'full' ? null : '20251231T000000Z-full-00000001',
          source: { site, member: 'db:5432' },
          estimatedBytes: null,
        },
        hostQueue: taskQueues.host(shop.name, site, world.host),
      };
      return prepared;
    },
    dumpVolumes: async () => {
      await note('dumpVolumes');
      return { attempt: 1 };
    },
    uploadVolumes: async () => {
      await note('uploadVolumes');
      return uploaded;
    },
    streamVolumes: async () => {
      await note('streamVolumes');
      return uploaded;
    },
    verifyArtifacts: () => note('verifyArtifacts'),
    waitForLog: () => note('waitForLog'),
    commitManifest: async () => {
      await note('commitManifest');
      return { consistentAt: at, storedBytes: 1_000 };
    },
    removeSpool: () => note('removeSpool'),
    sweepAttempts: ({ prepared, keepAttempt }) => {
      world.swept.push(prepared.ref.backupId);
      return note('sweepAttempts', String(keepAttempt));
    },
    notify: async ({ title }) => {
      await note('notify', title);
      return [];
    },
    archiveLog: async ({ site }) => {
      await note('archiveLog', site);
      const durable = { engine: 'fake', lineage: '1', value: '42' };
      return { lineage: '1', durable, coversUntil: at, entriesStored: 0, needsBase: null };
    },
  } satisfies FakeActivities);
  return world;
}
