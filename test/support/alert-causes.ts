import { layout } from '../../core/layout';
import type { RuleFile } from '../../core/monitoring/alert-rules';
import { workflowIds } from '../../core/names';
import { workflowTypes } from '../../core/runs';
import { POSTGRES_ROLES } from '../../lab/sites/postgresql';
import {
  startFollowers,
  end,
  LOOK,
  untilReady,
  fails,
  hungWhile,
  type Kept,
  takenAway,
  putBack,
  replaced,
  endOverwritten,
  newest,
  passwordOfBackups,
  dropSlot,
  loseLog,
  ORDERS,
  ARCHIVER,
  APP,
  COPIED,
  OLD_SECONDS,
} from './alert-lab';
import { type E2eLab, keysOf } from './e2e-lab';
import type { TestPrometheus } from './prometheus';

/** What makes an alert fire, and what ends it. */
export interface AlertCause {
  readonly alert: string;
  readonly because: string;
  /** Labels of the one that has to fire. */
  readonly of?: Readonly<Record<string, string>>;
  /** Left out where nothing has to be done: it is so in a new application, or gets so with time. */
  readonly cause?: () => Promise<unknown>;
  readonly cure: () => Promise<unknown>;
}

/** What Prometheus was started with. */
export interface Watch {
  readonly prometheus: TestPrometheus;
  readonly rules: RuleFile;
  readonly jobs: readonly { readonly job_name: string }[];
}

const WORKERS = ['worker-primary', 'worker-dr'];
/** Newest backups whose log is looked at (activities/observe-stores.ts). */
const LOOKED_AT = 7;

/** In an order in which none of them hides, or brings about, the next one. */
export function alertCauses(e2e: E2eLab, watch: () => Watch): AlertCause[] {
  return [
    ...ofNewApplication(e2e),
    ...ofBackups(e2e),
    ...ofCopies(e2e),
    ...ofTheLog(e2e),
    ...ofRecoveries(e2e),
    ...ofSites(e2e, watch),
    ...ofTheFigures(e2e),
  ];
}

function ofNewApplication(e2e: E2eLab): AlertCause[] {
  return [
    {
      alert: 'ReplicationUnmeasured',
      because: 'nothing was started that measures it',
      of: { store: 'sessions' },
      cure: () => startFollowers(e2e),
    },
    {
      alert: 'BackupMissing',
      because: 'none was taken yet',
      of: { store: 'catalog' },
      cure: () => e2e.ask('backup', '--all'),
    },
    {
      alert: 'ReadinessUnknown',
      because: 'nobody has ever looked',
      of: { site: 'dr' },
      cure: () => untilReady(e2e),
    },
    {
      alert: 'NotReady',
      because: 'the standby was stopped',
      of: { site: 'dr' },
      cause: async () => {
        await e2e.supervisor.stop('postgresql-dr');
        await fails(e2e, ...LOOK);
      },
      cure: async () => {
        await e2e.supervisor.start('postgresql-dr');
        await untilReady(e2e);
      },
    },
  ];
}

function ofBackups(e2e: E2eLab): AlertCause[] {
  const application = { store: 'application' };
  const newestManifest = () => newest(e2e, layout.manifests('application'), /-full-\w+\.json$/);
  const newestVolume = () => newest(e2e, 'data/files/application/', /vol-/);
  const verify = ['verify', 'application', '--full', '--every-backup'];
  const cutOff = replaced(e2e, newestManifest, (bytes) => bytes.subarray(0, -9));
  const overwritten = replaced(e2e, newestVolume, endOverwritten);
  return [
    {
      alert: 'BackupFailure',
      because: 'somebody gave its account another password',
      of: { store: ORDERS },
      cause: async () => {
        await passwordOfBackups(e2e, 'another');
        await fails(e2e, 'backup', ORDERS);
      },
      cure: async () => {
        await passwordOfBackups(e2e, e2e.access.secrets.password(POSTGRES_ROLES.backup.secret));
        await e2e.ask('backup', ORDERS);
      },
    },
    {
      alert: 'BackupDelayed',
      because: 'nobody has taken one for too long',
      of: application,
      cure: () => e2e.ask('backup', 'application'),
    },
    { alert: 'BackupDamaged', because: 'a manifest was cut off', of: application, ...cutOff },
    {
      alert: 'ProofFailed',
      because: 'the end of a volume was overwritten',
      of: { ...application, proof: 'full' },
      cause: async () => {
        await overwritten.cause();
        await fails(e2e, ...verify);
      },
      cure: async () => {
        await overwritten.cure();
        await e2e.ask(...verify);
      },
    },
    {
      alert: 'ProofTooOld',
      because: 'nobody has proven one for too long',
      of: { store: COPIED },
      cure: () => e2e.ask('verify', '--all', '--full'),
    },
  ];
}

function ofCopies(e2e: E2eLab): AlertCause[] {
  const of = { store: COPIED, copy: 'offsite' };
  const data = `data/config/${COPIED}/`;
  const overwritten = replaced(e2e, () => newest(e2e, data, /vol-/), endOverwritten);
  return [
    { alert: 'CopyBehind', because: 'nobody has copied for long', of, cure: () => e2e.ask('copies', 'run', COPIED) },
    {
      alert: 'CopyDamaged',
      because: 'the copy was deleted, and what it was made of is damaged by now',
      of,
      cause: async () => {
        await overwritten.cause();
        const copied = [data, layout.manifests(COPIED)].map((prefix) => keysOf(e2e.offsite, prefix));
        await e2e.offsite.delete((await Promise.all(copied)).flat());
        await fails(e2e, 'copies', 'run', COPIED, '--whole');
      },
      cure: async () => {
        await overwritten.cure();
        await e2e.ask('copies', 'run', COPIED, '--whole');
      },
    },
  ];
}

function ofTheLog(e2e: E2eLab): AlertCause[] {
  const orders = { store: ORDERS };
  const away: Kept[] = [];
  return [
    {
      alert: 'RPOBreached',
      because: 'the archiver was ended',
      of: orders,
      cause: () => end(e2e, ARCHIVER),
      cure: () => startFollowers(e2e),
    },
    {
      alert: 'RPOUnknown',
      because: 'the archived log was deleted',
      of: orders,
      cause: async () => {
        await end(e2e, ARCHIVER);
        away.push(...(await takenAway(e2e, layout.logs(ORDERS))));
      },
      cure: async () => {
        for (const each of away) await putBack(e2e, each);
        await startFollowers(e2e);
      },
    },
    {
      alert: 'LogSlotLost',
      because: 'somebody dropped the slot',
      of: { ...orders, site: 'primary', state: 'absent' },
      cause: () => dropSlot(e2e),
      cure: () => startFollowers(e2e),
    },
    {
      alert: 'LogGap',
      because: 'the server threw log away that nobody had archived',
      of: orders,
      cause: async () => {
        await loseLog(e2e);
        await startFollowers(e2e);
      },
      // It is told for a day, or until none of the backups that are looked at lies before it.
      cure: async () => {
        for (let count = 0; count < LOOKED_AT; count += 1) await e2e.ask('backup', ORDERS, '--type', 'full');
      },
    },
    {
      alert: 'ReplicationUnmeasured',
      because: 'the watch was ended',
      of: orders,
      cause: () => end(e2e, workflowIds.watch(APP)),
      cure: () => startFollowers(e2e),
    },
  ];
}

function ofRecoveries(e2e: E2eLab): AlertCause[] {
  const restore = (name: string) => {
    const place = `${e2e.lab.folder}/restore/${name}`;
    return e2e.ask('restore', 'application', '--to', 'latest', '--into', place, '--site', 'primary', '--yes');
  };
  return [
    {
      alert: 'RecoveryTooSlow',
      because: 'the repository did not answer for a while',
      of: { operation: 'restore' },
      cause: () => hungWhile(e2e, workflowTypes.restoreStores, OLD_SECONDS + 1, () => restore('slow')),
      cure: () => restore('fast'),
    },
  ];
}

function ofSites(e2e: E2eLab, watch: () => Watch): AlertCause[] {
  const { supervisor } = e2e;
  return [
    {
      alert: 'DRSiteDown',
      because: 'one of its servers was stopped',
      of: { worker: 'dr' },
      cause: () => supervisor.stop('redis-dr'),
      cure: () => supervisor.start('redis-dr'),
    },
    {
      alert: 'DRSiteUnwatched',
      because: 'Prometheus lost the job',
      cause: () => {
        const { prometheus, rules, jobs } = watch();
        const others = jobs.filter(({ job_name }) => job_name !== 'dr-site-health');
        return prometheus.reload(rules, others);
      },
      cure: () => {
        const { prometheus, rules, jobs } = watch();
        return prometheus.reload(rules, jobs);
      },
    },
  ];
}

function ofTheFigures({ supervisor }: E2eLab): AlertCause[] {
  return [
    {
      alert: 'MetricsStale',
      because: 'the repository hangs',
      cause: () => supervisor.signal('s3', 'SIGSTOP'),
      cure: () => supervisor.signal('s3', 'SIGCONT'),
    },
    {
      alert: 'MetricsIncomplete',
      because: 'Temporal was killed',
      of: { part: 'temporal' },
      cause: () => supervisor.kill('temporal'),
      cure: () => supervisor.start('temporal'),
    },
    {
      alert: 'MetricsMissing',
      because: 'every worker was killed',
      cause: () => Promise.all(WORKERS.map((name) => supervisor.kill(name))),
      cure: () => Promise.all(WORKERS.map((name) => supervisor.start(name))),
    },
  ];
}
