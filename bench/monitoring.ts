import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { stringify } from 'yaml';
import { sealed } from '../adapters/catalog/stored-json';
import { createRepository } from '../adapters/repository';
import type { Manifest } from '../core/catalog';
import { backupIdOf, layout } from '../core/layout';
import type { Repository } from '../core/repository';
import { Secret } from '../core/secret';
import { projectRoot } from '../lab/runtime/servers';
import { freeLoopbackPort } from '../lab/servers/loopback';
import { waitUntil } from '../lab/servers/process';
import { RunningServer } from '../lab/servers/running-server';
import type { Bench, BenchContext } from './bench';
import { figure, type Figure } from './figure';
import { type Rig, withRig } from './postgresql/rig';

/** Issue "The rest of the strategy": with so many of them. */
const STORES = 50;
const BACKUPS = 20_000;
const AIM_STATUS_SECONDS = 2;
const AIM_SCRAPE_MILLISECONDS = 200;

/** Of the stores with a log: a day of segments of a server that fills one every three minutes. */
const LOGGED_STORES = 20;
const SEGMENTS = 480;
const SEGMENT_BYTES = 16 * 2 ** 20;
const FOUR_HOURS = 4 * 3_600_000;
const PARALLEL_PUTS = 24;
/** A status takes seconds and a scrape milliseconds: each round takes several. */
const SCRAPES_A_ROUND = 20;

const run = promisify(execFile);

export const monitoring: Bench = {
  summary: `drctl status and a scrape of Prometheus with ${STORES} stores and ${BACKUPS} backups in S3`,
  run: (context) => withRig(context.say, (rig) => measure(rig, context)),
};

async function measure(rig: Rig, { rounds, say }: BenchContext): Promise<Figure[]> {
  const listen = `127.0.0.1:${await freeLoopbackPort('127.0.0.1')}`;
  const config = writeConfig(rig, listen);
  say(`writing ${BACKUPS} manifests and ${LOGGED_STORES * SEGMENTS} segments`);
  await fill(repositoryOf(rig));

  const [first, again] = [await statusSeconds(config), [] as number[]];
  for (let round = 0; round < rounds; round += 1) again.push(await statusSeconds(config));
  say(`  status: ${again.map((seconds) => `${seconds.toFixed(2)} s`).join(', ')}`);

  const startedAt = Date.now();
  const worker = startableWorker(rig, config, listen);
  rig.defer(() => worker.kill());
  await worker.start();
  await waitUntil('every backup being counted', async () => counted(await scrape(listen)) === BACKUPS, {
    deadlineMs: 900_000,
    intervalMs: 1_000,
  });
  const countedSeconds = (Date.now() - startedAt) / 1_000;
  const scrapes: number[] = [];
  for (let at = 0; at < rounds * SCRAPES_A_ROUND; at += 1) {
    const begun = performance.now();
    await scrape(listen);
    scrapes.push(performance.now() - begun);
  }
  await worker.kill();
  const restartedAt = Date.now();
  await worker.start();
  await waitUntil('the restarted worker telling the same', async () => counted(await scrape(listen)) === BACKUPS, {
    deadlineMs: 900_000,
    intervalMs: 250,
  });
  const restartSeconds = (Date.now() - restartedAt) / 1_000;
  const slowest = Math.max(...scrapes);
  return [
    figure({
      name: 'drctl status',
      unit: 's',
      values: again,
      aim: { valueAtMost: AIM_STATUS_SECONDS },
      note: `the first: ${first.toFixed(2)} s; a new process each time, the start of Node included`,
    }),
    figure({
      name: 'scrape',
      unit: 'ms',
      values: scrapes,
      aim: { valueAtMost: AIM_SCRAPE_MILLISECONDS },
      note: `the slowest of ${scrapes.length}: ${slowest.toFixed(0)} ms`,
    }),
    figure({
      name: 'first worker, until everything is counted',
      unit: 's',
      values: [countedSeconds],
      note: 'its start included; each manifest is read once',
    }),
    figure({
      name: 'restarted worker, until it tells the same',
      unit: 's',
      values: [restartSeconds],
      note: 'its start included',
    }),
  ];
}

async function statusSeconds(config: string): Promise<number> {
  const begun = performance.now();
  // As a person calls it, the start of Node and the look at the build included.
  const program = path.join(projectRoot(), 'drctl');
  const ended = await run(program, ['status', '--config', config, '--output', 'json'], {
    maxBuffer: 16 * 2 ** 20,
  }).catch((error: { code?: unknown; stdout: string }) => error);
  const seconds = (performance.now() - begun) / 1_000;
  const { stores } = JSON.parse(ended.stdout) as { stores: { status?: string; stateOf?: string; problem?: string }[] };
  const wrong = stores.filter(({ status, stateOf }) => status !== 'healthy' || !stateOf);
  if (stores.length !== STORES || wrong.length > 0)
    throw new Error(`status is not as filled: ${JSON.stringify(wrong[0])}`);
  return seconds;
}

/** Empty while the worker does not answer yet. */
async function scrape(listen: string): Promise<string> {
  return fetch(`http://${listen}/metrics`).then(
    (response) => response.text(),
    () => '',
  );
}

function counted(text: string): number {
  const values = [...text.matchAll(/^backup_success_total\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  return values.reduce((sum, value) => sum + value, 0);
}

function startableWorker(rig: Rig, config: string, listen: string): RunningServer {
  const argv = [
    process.execPath,
    path.join(projectRoot(), 'dist/workers/main.js'),
    '--config',
    config,
    '--site',
    'primary',
  ];
  return new RunningServer({
    name: 'worker',
    command: { argv, cwd: rig.folder },
    logFile: path.join(rig.folder, 'worker.log'),
    ready: () =>
      waitUntil('the worker', async () => (await fetch(`http://${listen}/healthz`).catch(() => null))?.ok === true, {
        deadlineMs: 120_000,
      }),
  });
}

const isLogged = (index: number) => index < LOGGED_STORES;
const nameOf = (index: number) => `store-${String(index + 1).padStart(2, '0')}`;
const identityOf = (index: number) => String(7_000_000_000_000_000_000n + BigInt(index));

/** Backups every four hours, the newest just now: a full a day, with incrementals between where the engine has them. */
async function fill(repository: Repository): Promise<void> {
  const now = Date.now();
  const writes: (() => Promise<unknown>)[] = [];
  for (let index = 0; index < STORES; index += 1) {
    const store = nameOf(index);
    const each = BACKUPS / STORES;
    let parent: string | null = null;
    for (let nth = 0; nth < each; nth += 1) {
      const manifest: Manifest = manifestOf(index, nth, now - (each - 1 - nth) * FOUR_HOURS - 60_000, parent);
      parent = manifest.backupId;
      writes.push(() => repository.put(layout.manifest(store, manifest.backupId), sealed(manifest)));
    }
    if (isLogged(index)) writes.push(...segmentsOf(repository, index, now));
  }
  const next = writes.values();
  const work = async () => {
    for (const write of next) await write();
  };
  await Promise.all(Array.from({ length: PARALLEL_PUTS }, work));
}

function manifestOf(index: number, nth: number, at: number, before: string | null): Manifest {
  const store = nameOf(index);
  const isFull = !isLogged(index) || nth % 6 === 0;
  const takenAt = new Date(at).toISOString();
  const committedAt = new Date(at + 30_000).toISOString();
  const backupId = backupIdOf(takenAt, isFull ? 'full' : 'incr', String(nth).padStart(8, '0'));
  const folder = layout.backupData(isFull ? 'full' : 'incr', store, backupId);
  const lineage = isLogged(index) ? `${identityOf(index)}/1` : null;
  const position = lineage === null ? null : { engine: 'postgresql', lineage, value: '0/3000028' };
  return {
    formatVersion: 1,
    backupId,
    application: 'bench',
    store,
    engine: isLogged(index) ? 'postgresql' : 'files',
    type: isFull ? 'full' : 'incr',
    parent: isFull ? null : before,
    typeReason: null,
    start: position,
    stop: position,
    startedAt: takenAt,
    consistentAt: takenAt,
    committedAt,
    identity: identityOf(index),
    lineage,
    serverVersion: '18.6',
    toolVersions: { node: process.version },
    source: { site: 'primary', member: '127.0.0.1:1' },
    warnings: [],
    detail: isLogged(index) ? { segmentBytes: SEGMENT_BYTES } : {},
    artifacts: Array.from({ length: isFull ? 8 : 2 }, (_, volume) => ({
      name: `vol-0000${volume + 1}.tar`,
      key: `${folder}attempt-1/vol-0000${volume + 1}.tar.zst`,
      sizeBytes: 30_000_000 + nth,
      contentBytes: 134_217_728,
      sha256: 'a'.repeat(64),
      contentSha256: 'b'.repeat(64),
      codec: 'zstd',
      encryptionKeyId: null,
    })),
    early: [],
    attempt: 1,
    workflowId: `backup:bench:${store}`,
    runId: `run-${nth}`,
  };
}

/** Segments 3 and on, without a hole; the last one says that it covers what was committed until now. */
function segmentsOf(repository: Repository, index: number, now: number): (() => Promise<unknown>)[] {
  const lineage = `${identityOf(index)}/1`;
  const metadata = { 'covers-until': new Date(now).toISOString() };
  return Array.from({ length: SEGMENTS }, (_, nth) => {
    const name = `00000001${'0'.repeat(8)}${(nth + 3).toString(16).toUpperCase().padStart(8, '0')}`;
    return () => repository.put(`${layout.log(nameOf(index), lineage, name)}.zst`, Buffer.from(name), { metadata });
  });
}

function repositoryOf({ s3 }: Rig): Repository {
  const { accessKeyId, secretAccessKey } = s3.keys;
  const credentials = { accessKeyId: new Secret(accessKeyId), secretAccessKey: new Secret(secretAccessKey) };
  const { region, buckets } = s3;
  const settings = {
    kind: 's3',
    bucket: buckets.ours,
    region,
    endpoint: plainEndpoint(s3),
    forcePathStyle: true,
    prefix: '',
    storageClass: 'STANDARD',
    credentials,
  } as const;
  return createRepository('cloud', settings, 'bench');
}

/** Listings and manifests need no TLS: nothing of it is measured. */
const plainEndpoint = ({ host }: Rig['s3']) => `http://${host}:9000`;

function writeConfig(rig: Rig, listen: string): string {
  const secret = (name: string, value: string) => {
    const file = path.join(rig.folder, name);
    fs.writeFileSync(file, value, { mode: 0o600 });
    return { file };
  };
  const { accessKeyId, secretAccessKey } = rig.s3.keys;
  const credentials = { accessKeyId: secret('key-id', accessKeyId), secretAccessKey: secret('key', secretAccessKey) };
  const forEver = { local: 'forever', cloud: 'forever', archive: 'forever' };
  const stores = Array.from({ length: STORES }, (_, index) => [
    nameOf(index),
    isLogged(index)
      ? { engine: 'postgresql', sites: { primary: { host: '127.0.0.1', port: 1 } } }
      : { engine: 'files', rpo: '5h', sites: { primary: { roots: ['/srv'] } } },
  ]);
  const file = path.join(rig.folder, 'bench.yaml');
  fs.writeFileSync(
    file,
    stringify({
      application: 'bench',
      temporal: { address: rig.temporal },
      sites: { primary: {} },
      initialSite: 'primary',
      objectives: { rto: '4h', rpo: '1h', uptimePercent: 99.9, backupSuccessPercent: 99.95 },
      repositories: {
        cloud: {
          kind: 's3',
          bucket: rig.s3.buckets.ours,
          region: rig.s3.region,
          endpoint: plainEndpoint(rig.s3),
          forcePathStyle: true,
          credentials,
        },
      },
      repository: 'cloud',
      spool: { directory: path.join(rig.folder, 'spool') },
      backup: {},
      restore: { directory: path.join(rig.folder, 'restore') },
      stores: Object.fromEntries(stores) as object,
      metrics: { prometheus: { listen, intervalSeconds: 60 } },
      failover: {
        confirm: { probes: 3, interval: '2s' },
        approvers: ['bench'],
        escalateAfter: '10m',
        servicesReadyWithin: '2m',
        dnsWithin: '2m',
      },
      schedules: { runs: {} },
      retention: Object.fromEntries(
        ['databaseFull', 'databaseIncremental', 'transactionLogs', 'files', 'configuration'].map((kind) => [
          kind,
          forEver,
        ]),
      ),
      monitoring: { backupMaxAge: '25h' },
    }),
  );
  return file;
}
