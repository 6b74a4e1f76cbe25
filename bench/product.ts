import * as fs from 'node:fs';
import * as path from 'node:path';
import { stringify } from 'yaml';
import { workflowIds } from '../core/names';
import type { BackUpStoreResult, LaunchBackupsResult, RunStatus } from '../core/runs';
import { projectRoot } from '../lab/runtime/servers';
import { isRoot, waitUntil } from '../lab/servers/process';
import { RunningServer } from '../lab/servers/running-server';
import { runDrctl } from './lab';
import type { Rig } from './rig';

/** What of a protected store is the engine's own. */
export interface ProtectedStore {
  /** The application's name. */
  readonly application: string;
  /** The host that the source listens on, and a restored server will. */
  readonly host: string;
  /** The store in the config; `secret` keeps a password in a file. */
  config(secret: (name: string, value: string) => { readonly file: string }): object;
  /** The position of what was written last. */
  newest(): Promise<string>;
  /** Whether the archived log reaches a position. */
  isArchived(position: string): Promise<boolean>;
}

/** drctl over one store, as the lab runs it: a worker with every workflow, the archiver and the watch beside what is measured. */
export interface Product {
  readonly restoreFolder: string;
  readonly restoreHost: string;
  drctl<T>(...args: string[]): Promise<T>;
  /** Ready when the archived log is close behind; with nothing to do for a worker that runs. Answers its process id. */
  work(): Promise<number>;
  /** Kills the worker: it takes nothing from a peer that is measured. */
  rest(): Promise<void>;
  backUp(type: 'full' | 'incr'): Promise<BackUpStoreResult & { readonly commandSeconds: number }>;
  /** Seconds of each step of a restore, by its id without the store. */
  restoreSteps(
    restoreId: string,
  ): Promise<ReadonlyMap<string, { readonly startedAt: number; readonly endedAt: number }>>;
  /** Resolves when the log is durable to there. */
  archivedTo(position: string): Promise<void>;
}

export const STORE = 'db';
const SITE = 'primary';
/** After a kill Temporal hands an archiver's round to another worker only when its heartbeats are missed (15 s) and after a retry. */
const ARCHIVING_MILLISECONDS = 180_000;
const WORKER_MILLISECONDS = 60_000;

/** Protects a store for the first time: its archiver runs. The worker rests after it. */
export async function protect(rig: Rig, store: ProtectedStore): Promise<Product> {
  const { application } = store;
  const folder = path.join(rig.folder, `drctl-${application}`);
  fs.mkdirSync(path.join(folder, 'spool'), { recursive: true });
  const restoreFolder = path.join(folder, 'restore');
  fs.mkdirSync(restoreFolder, { mode: 0o755 });
  const config = path.join(folder, 'config.yaml');
  writeConfig(config, rig, store, folder);
  const env = { NODE_EXTRA_CA_CERTS: rig.s3.authorityFile };
  const drctl = <T>(...args: string[]) => runDrctl(config, args, env) as Promise<T>;
  const worker = startableWorker(folder, config, env);
  rig.defer(() => worker.kill());

  const archivedTo = (position: string) =>
    waitUntil(`the archived log of ${application} reaching ${position}`, () => store.isArchived(position), {
      deadlineMs: ARCHIVING_MILLISECONDS,
      intervalMs: 200,
    });

  let protectedBefore = false;
  const product: Product = {
    restoreFolder,
    restoreHost: store.host,
    drctl,
    async work() {
      if (worker.pid === null) {
        await worker.start();
        if (!protectedBefore) await drctl('schedules', 'apply');
        protectedBefore = true;
      }
      await archivedTo(await store.newest());
      return worker.pid as number;
    },
    rest: () => worker.kill(),
    async backUp(type) {
      const started = performance.now();
      const { backups, failed } = await drctl<LaunchBackupsResult>('backup', STORE, '--type', type);
      const [backup] = backups;
      if (!backup) throw new Error(`the backup failed: ${failed[0]?.message}`);
      if (backup.type !== type) throw new Error(`a backup of type ${type} was asked: ${backup.typeReason}`);
      return { ...backup, commandSeconds: (performance.now() - started) / 1_000 };
    },
    async restoreSteps(restoreId) {
      const { steps } = await drctl<RunStatus>('runs', 'status', workflowIds.restore(application, restoreId));
      return new Map(
        steps.map(({ id, startedAt, finishedAt }) => [
          id.split(':')[0] as string,
          { startedAt: Date.parse(startedAt ?? ''), endedAt: Date.parse(finishedAt ?? '') },
        ]),
      );
    },
    archivedTo,
  };
  return product;
}

function startableWorker(folder: string, config: string, env: Readonly<Record<string, string>>): RunningServer {
  const logFile = path.join(folder, 'worker.log');
  const argv = [process.execPath, path.join(projectRoot(), 'dist/workers/main.js'), '--config', config, '--site', SITE];
  const readyLines = () =>
    fs.existsSync(logFile) ? fs.readFileSync(logFile, 'utf8').split('worker is ready').length - 1 : 0;
  let seen = 0;
  return new RunningServer({
    name: 'the worker',
    command: { argv, env, cwd: folder },
    logFile,
    async ready() {
      await waitUntil('the worker being ready', async () => readyLines() > seen, { deadlineMs: WORKER_MILLISECONDS });
      seen = readyLines();
    },
  });
}

/** As small as it may be: one store at one site, no schedules; the values that matter here are the lab's. */
function writeConfig(file: string, rig: Rig, store: ProtectedStore, folder: string): void {
  const secrets = path.join(folder, 'secrets');
  fs.mkdirSync(secrets, { mode: 0o700 });
  const secret = (name: string, value: string) => {
    fs.writeFileSync(path.join(secrets, name), value, { mode: 0o600 });
    return { file: path.join(secrets, name) };
  };
  const { endpoint, region, keys, buckets } = rig.s3;
  const credentials = {
    accessKeyId: secret('access-key-id', keys.accessKeyId),
    secretAccessKey: secret('secret-access-key', keys.secretAccessKey),
  };
  const keep = { local: '7d', cloud: '30d', archive: '1y' };
  const config = {
    application: store.application,
    temporal: { address: rig.temporal },
    sites: { [SITE]: {} },
    initialSite: SITE,
    objectives: { rto: '4h', rpo: '15m', uptimePercent: 99.9, backupSuccessPercent: 99.95 },
    repositories: { cloud: { kind: 's3', bucket: buckets.ours, region, endpoint, forcePathStyle: true, credentials } },
    repository: 'cloud',
    spool: { directory: path.join(folder, 'spool') },
    backup: { mode: 'spool', volumeSize: '128MiB', zstdLevel: 3 },
    restore: {
      directory: path.join(folder, 'restore'),
      host: store.host,
      ...(isRoot ? { osUser: 'nobody' } : {}),
    },
    stores: { [STORE]: store.config(secret) },
    failover: {
      confirm: { probes: 3, interval: '2s' },
      approvers: ['nobody'],
      escalateAfter: '10m',
      servicesReadyWithin: '2m',
      dnsWithin: '2m',
    },
    schedules: { runs: {} },
    retention: Object.fromEntries(
      ['databaseFull', 'databaseIncremental', 'transactionLogs', 'files', 'configuration'].map((kind) => [kind, keep]),
    ),
    monitoring: { backupMaxAge: '25h' },
  };
  fs.writeFileSync(file, stringify(config));
}
