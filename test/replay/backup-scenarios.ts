import { failure } from '../../core/errors';
import { fakeBackupWorld } from '../support/fake-backup';
import { fakeCopyWorld } from '../support/fake-copies';
import { fakeRetentionWorld } from '../support/fake-retention';
import { follow } from '../support/follow';
import { shop } from '../support/shop-application';
import { decided, moved, toFailure, toTheEnd, type Scenario } from './scenario';

/** The courses of backups, log, copies and retention. */
export function backupScenarios(): Scenario[] {
  const application = shop.name;
  const backup = { application, store: 'orders', type: 'full', reason: 'recorded' };
  const spool = fakeBackupWorld();
  const stream = fakeBackupWorld();
  stream.mode = 'stream';
  const broken = fakeBackupWorld();
  broken.before['verifyArtifacts'] = () => Promise.reject(failure('BackupCorrupt', 'bytes differ'));
  const refused = fakeBackupWorld();
  refused.before['dumpVolumes'] = () => {
    const first = refused.calls.filter((call) => call === 'dumpVolumes').length === 1;
    if (first) throw failure('IncrementalRefused', 'WAL summaries are gone');
  };
  refused.before['uploadVolumes'] = async () => {
    if (!refused.calls.includes('sweepAttempts:null')) await follow();
  };
  const archive = fakeBackupWorld();
  archive.before['archiveLog'] = follow;
  return [
    { name: 'back-up-store-spool', type: 'backUpStore', input: backup, activities: spool.activities, drive: toTheEnd },
    {
      name: 'back-up-store-stream',
      type: 'backUpStore',
      input: backup,
      activities: stream.activities,
      drive: toTheEnd,
    },
    {
      name: 'back-up-store-failed',
      type: 'backUpStore',
      input: backup,
      activities: broken.activities,
      drive: toFailure,
    },
    {
      name: 'back-up-store-refused',
      type: 'backUpStore',
      input: { ...backup, type: 'incr' },
      activities: refused.activities,
      drive: toTheEnd,
    },
    {
      name: 'launch-backups',
      type: 'launchBackups',
      input: { application, stores: ['orders', 'events'], type: 'full', reason: 'recorded' },
      activities: fakeBackupWorld().activities,
      drive: toTheEnd,
    },
    {
      name: 'archive-log-moved',
      type: 'archiveLog',
      input: { application, store: 'orders' },
      activities: archive.activities,
      drive: moved(archive, archive.calls, 'archiveLog'),
    },
    {
      name: 'apply-retention',
      type: 'applyRetention',
      input: { application, stores: ['orders', 'events'], requestedBy: 'sam', isOnlyOne: true },
      activities: fakeRetentionWorld({ refused: ['events'], graceSeconds: 1 }).activities,
      drive: toTheEnd,
    },
    {
      name: 'apply-retention-scheduled',
      type: 'applyRetention',
      input: { application, stores: ['orders'], requestedBy: 'schedule retention' },
      activities: fakeRetentionWorld({ refused: [], graceSeconds: 0 }).activities,
      drive: toTheEnd,
    },
    {
      name: 'apply-retention-aborted',
      type: 'applyRetention',
      input: { application, stores: ['orders'], requestedBy: 'sam', isOnlyOne: true },
      activities: fakeRetentionWorld({ refused: [], graceSeconds: 3_600 }).activities,
      drive: decided([/the end of the grace/, 'abort', { by: 'kim', reason: 'audit' }]),
    },
    {
      name: 'copy-stores',
      type: 'copyStores',
      input: { application, copies: [{ store: 'assets', copy: 'offsite' }], requestedBy: 'sam', wholeListing: false },
      activities: fakeCopyWorld([], { damaged: ['assets'] }),
      drive: toTheEnd,
    },
    {
      name: 'copy-store',
      type: 'copyStore',
      input: { application, store: 'orders', copy: 'offsite', requestedBy: 'backup', wholeListing: false },
      activities: fakeCopyWorld([]),
      drive: toTheEnd,
    },
  ];
}
