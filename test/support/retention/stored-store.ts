import { createHash } from 'node:crypto';
import * as path from 'node:path';
import type { OpenApplication } from '../../../activities/deps';
import { markStore } from '../../../activities/retention';
import { sweepStore } from '../../../activities/retention-sweep';
import { createCatalog } from '../../../adapters/catalog/catalog';
import { logReach } from '../../../adapters/engines/postgresql/log-reach';
import { lineageOf, pieceName, positionAt, walNaming } from '../../../adapters/engines/postgresql/lsn';
import { createLogArchive } from '../../../adapters/repository/log-archive';
import { createRetentionStore } from '../../../adapters/retention/retention-store';
import { createSpool } from '../../../adapters/volumes/spool';
import { createTransfer } from '../../../adapters/volumes/transfer';
import type { Artifact, Manifest } from '../../../core/catalog';
import { backupIdOf, layout } from '../../../core/layout';
import type { Repository } from '../../../core/repository';
import type { RetentionPolicy } from '../../../core/retention/policy';
import { testContext } from '../call-context';
import { manifestOf } from '../manifests';

/** A store with backups and log in a real repository, and retention over it. */
export const [STORE, DAY] = ['orders', 86_400_000];
const [SYSTEM, SEGMENT] = ['7000', 16n * 2n ** 20n];
export const lineage = lineageOf(SYSTEM, 1);
const codec = { codec: 'zstd', level: 1 } as const;

export const keep = (days: number) => ({ local: 0, cloud: days * 86_400, archive: days * 86_400 });
export const policy: RetentionPolicy = {
  databaseFull: keep(8),
  databaseIncremental: keep(4),
  transactionLogs: keep(3),
  files: keep(1),
  configuration: keep(1),
};

/** The application as activities see it, over this repository; `folder` is for the spool. */
export function openStored(folder: string, repository: Repository, keeping = policy): OpenApplication {
  const spool = createSpool({ directory: path.join(folder, 'spool'), application: 'shop', codec, reserveBytes: 0 });
  const catalog = createCatalog(repository);
  const transfer = createTransfer({ repository, catalog, spool, codec, targetVolumeBytes: 2 ** 20 });
  return {
    engine: () => ({
      kind: 'postgresql',
      artifactKind: (type: string) => type,
      log: { naming: walNaming, reach: logReach },
    }),
    catalog: () => catalog,
    copies: () => [],
    transfer: () => transfer,
    logArchive: () => createLogArchive(repository, STORE, walNaming),
    retention: { policy: keeping, graceSeconds: 0, maxDeleteShare: 1, orphansAfterSeconds: 86_400 },
    retentionStore: () => createRetentionStore(repository, STORE, walNaming),
  } as unknown as OpenApplication;
}

/** Five days up to now: a full a day with an increment in the middle, a whole segment of log every twelve hours. */
export async function fill(repository: Repository, now: number): Promise<Manifest[]> {
  const catalog = createCatalog(repository);
  const manifests: Manifest[] = [];
  const lsnAt = (at: number) => (BigInt(Math.floor((at - (now - 6 * DAY)) / (DAY / 2))) + 1n) * SEGMENT;
  for (let day = 5; day >= 0; day -= 1) {
    for (const [type, at] of [
      ['full', now - day * DAY],
      ['incr', now - day * DAY + DAY / 2],
    ] as const) {
      if (at > now) continue;
      const parent = type === 'incr' ? (manifests.at(-1) as Manifest).backupId : null;
      const backupId = backupIdOf(
        new Date(at).toISOString(),
        type,
        createHash('md5').update(`${at}`).digest('hex').slice(0, 8),
      );
      const artifact = await storeArtifact(
        repository,
        `${layout.attempt(type, STORE, backupId, 1)}vol-00001.tar.zst`,
        backupId,
      );
      const consistentAt = new Date(at).toISOString();
      const manifest = manifestOf(backupId, [artifact], {
        ...{
          store: STORE,
          engine: 'postgresql',
          type,
          parent,
          lineage,
          identity: SYSTEM,
          consistentAt,
          committedAt: consistentAt,
        },
        start: positionAt(lineage, lsnAt(at) + 100n),
        stop: positionAt(lineage, lsnAt(at) + 200n),
        detail: { segmentBytes: Number(SEGMENT) },
      });
      await catalog.commit(manifest);
      manifests.push(manifest);
    }
  }
  for (let at = now - 6 * DAY; at <= now; at += DAY / 2) {
    const from = lsnAt(at);
    await repository.put(
      `${layout.log(STORE, lineage, pieceName(1, from, from + SEGMENT, SEGMENT))}.zst`,
      Buffer.from(`log ${from}`),
    );
  }
  return manifests;
}

export async function storeArtifact(repository: Repository, key: string, content: string): Promise<Artifact> {
  const bytes = Buffer.from(content);
  await repository.put(key, bytes);
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const sizes = { sizeBytes: bytes.length, contentBytes: bytes.length };
  return { name: 'vol-00001.tar', key, ...sizes, sha256, contentSha256: sha256, codec: 'zstd', encryptionKeyId: null };
}

/** Log that is stored now counts as old: only its time in the plan is another. */
export const LATER = 5 * DAY;

/** Marks and sweeps, without a grace. */
export async function applyRetention(open: OpenApplication, now: number, runId = 'run-1') {
  const marked = await markStore(
    open,
    { application: 'shop', store: STORE, runId, by: 'sam', graceSeconds: 0, maxDeleteShare: null },
    testContext(),
    now,
  );
  return { marked, swept: await sweepStore(open, { store: STORE, runId, clock: () => now }, testContext()) };
}
