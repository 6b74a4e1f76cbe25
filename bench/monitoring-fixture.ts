import * as fs from 'node:fs';
import * as path from 'node:path';
import { stringify } from 'yaml';
import { sealed } from '../adapters/catalog/stored-json';
import { createRepository } from '../adapters/repository';
import type { Manifest } from '../core/catalog';
import { backupIdOf, layout } from '../core/layout';
import type { KeptHealth } from '../core/monitoring/told';
import type { Repository } from '../core/repository';
import { Secret } from '../core/secret';
import type { Rig } from './rig';

/** Issue "The rest of the strategy": with so many of them. */
export const STORES = 50;
export const BACKUPS = 20_000;
/** Of the stores with a log: a day of segments of a server that fills one every three minutes. */
export const LOGGED_STORES = 20;
export const SEGMENTS = 480;
const SEGMENT_BYTES = 16 * 2 ** 20;
const FOUR_HOURS = 4 * 3_600_000;
const PARALLEL_PUTS = 24;

const isLogged = (index: number) => index < LOGGED_STORES;
const nameOf = (index: number) => `store-${String(index + 1).padStart(2, '0')}`;
const identityOf = (index: number) => String(7_000_000_000_000_000_000n + BigInt(index));

/** Backups every four hours, the newest just now: a full a day, with incrementals between where the engine has them. */
export async function fill(repository: Repository): Promise<void> {
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
  writes.push(() =>
    repository.put(layout.health(), Buffer.from(JSON.stringify(checkedAt(new Date(now).toISOString())))),
  );
  const next = writes.values();
  const work = async () => {
    for (const write of next) await write();
  };
  await Promise.all(Array.from({ length: PARALLEL_PUTS }, work));
}

/** What the health check writes every five minutes. */
function checkedAt(at: string): KeptHealth {
  const healthy = {
    status: 'healthy',
    reasons: [],
    lastBackupAt: at,
    lastBackupAgeHours: 0,
    rpoSeconds: 0,
    problems: [],
  } as const;
  const stores = Array.from({ length: STORES }, (_, index) => ({ store: nameOf(index), ...healthy }));
  return { result: { application: 'bench', at, stores }, told: {} };
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

export function repositoryOf({ s3 }: Rig): Repository {
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

export function writeConfig(rig: Rig, listen: string): string {
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
