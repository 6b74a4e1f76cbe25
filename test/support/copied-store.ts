import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import * as path from 'node:path';
import { finished } from 'node:stream/promises';
import type { OpenApplication } from '../../activities/deps';
import { lineageOf, pieceName, positionAt, walNaming } from '../../adapters/engines/postgresql/lsn';
import { logReach } from '../../adapters/engines/postgresql/log-reach';
import type { ObjectCipher } from '../../adapters/encryption/encrypted-object';
import { createSpool } from '../../adapters/volumes/spool';
import type { LoadedConfig } from '../../config/load';
import type { BackupType, Manifest } from '../../core/catalog';
import { backupIdOf } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { RetentionPolicy } from '../../core/retention/policy';
import { createCopies } from '../../workers/copies';
import { storedParts } from '../../workers/stored-parts';
import { testContext } from './call-context';
import { dumpResult } from './manifests';

export const STORE = 'orders';
export const SYSTEM = '7000';
export const LINEAGE = lineageOf(SYSTEM, 1);
const SEGMENT = 16n * 2n ** 20n;
export const DAY = 86_400_000;

const keep = (days: number) => ({ local: 0, cloud: days * 86_400, archive: days * 86_400 });
export const POLICY: RetentionPolicy = {
  databaseFull: keep(8),
  databaseIncremental: keep(4),
  transactionLogs: keep(3),
  files: keep(1),
  configuration: keep(1),
};

export interface CopiedApplication {
  readonly open: OpenApplication;
  readonly cloud: Repository;
  readonly offsite: Repository;
}

/** An application with one store in `cloud`, which is copied to `offsite`, wired as the worker does. */
export function copiedApplication(
  cloud: Repository,
  offsite: Repository,
  folder: string,
  cipher: ObjectCipher | null = null,
): CopiedApplication {
  const duration = { text: '1h', milliseconds: 3_600_000, seconds: 3_600 };
  const config = {
    application: 'shop',
    repository: 'cloud',
    stores: { [STORE]: {} },
    copies: { offsite: { maxLag: duration } },
    backup: { mode: 'stream', volumeSize: { text: '1MiB', bytes: 2 ** 20 }, zstdLevel: 1 },
  } as unknown as LoadedConfig;
  const codec = { codec: 'zstd', level: 1 } as const;
  const parts = {
    config,
    engine: () =>
      ({
        store: STORE,
        kind: 'postgresql',
        artifactKind: (type: string) => type,
        log: { naming: walNaming, reach: logReach },
      }) as unknown as ReturnType<OpenApplication['engine']>,
    repositoryOf: () => cloud,
    spool: createSpool({ directory: path.join(folder, 'spool'), application: 'shop', codec, reserveBytes: 0, cipher }),
    cipher,
    retention: { policy: POLICY },
  };
  const stored = storedParts(parts);
  const open = {
    engine: parts.engine,
    ...stored,
    ...createCopies(stored, { ...parts, repositoryNamed: () => offsite }, () => open),
    retention: { policy: POLICY, graceSeconds: 0, maxDeleteShare: 1, orphansAfterSeconds: 86_400 },
  } as unknown as OpenApplication;
  return { open, cloud, offsite };
}

const lsnAt = (index: number) => BigInt(index + 1) * SEGMENT;

/** A backup of random content: volumes of the given sizes and a small early file. */
export async function addBackup(
  { open }: Pick<CopiedApplication, 'open'>,
  type: BackupType,
  wanted: {
    readonly at: number;
    readonly parent?: string;
    readonly segment: number;
    readonly sizes: readonly number[];
    /** As by a worker with a disk, which takes the digests of parts. */
    readonly spooled?: boolean;
  },
): Promise<Manifest> {
  const { at, parent = null, segment, sizes, spooled = false } = wanted;
  const backupId = backupIdOf(new Date(at).toISOString(), type, randomBytes(4).toString('hex'));
  const transfer = open.transfer(STORE);
  const ref = { store: STORE, backupId, kind: type, attempt: 1 } as const;
  const attempt = await (spooled ? transfer.beginSpool(ref, null) : transfer.beginStream(ref, testContext()));
  for (const [index, size] of sizes.entries()) {
    const volume = attempt.sink.volume(`vol-0000${index + 1}.tar`);
    if (!volume.write(randomBytes(size))) await once(volume, 'drain');
    volume.end();
    await finished(volume);
  }
  await attempt.sink.early('listing.jsonl', Buffer.from(`{"of":"${backupId}"}\n`));
  const consistentAt = new Date(at).toISOString();
  await attempt.finish(
    dumpResult({
      ...{ lineage: LINEAGE, identity: SYSTEM, consistentAt, detail: { segmentBytes: Number(SEGMENT) } },
      start: positionAt(LINEAGE, lsnAt(segment) + 100n),
      stop: positionAt(LINEAGE, lsnAt(segment) + 200n),
    }),
  );
  const stored = await (spooled ? transfer.uploadSpool(ref, testContext()) : transfer.stored(ref));
  const { dump, artifacts, early } = stored;
  const what = { backupId, application: 'shop', store: STORE, engine: 'postgresql', type, parent, typeReason: null };
  const run = { committedAt: consistentAt, attempt: stored.attempt, workflowId: 'test', runId: 'test' };
  return open.catalog(STORE).commit({ ...dump, formatVersion: 1, ...what, ...run, artifacts, early });
}

/** A whole segment of log, or a slice of it by its sixteenths. */
export async function addLog(
  { open }: Pick<CopiedApplication, 'open'>,
  segment: number,
  slice: readonly [from: number, to: number] | null = null,
): Promise<void> {
  const [from, to] = slice ?? [0, 16];
  const start = lsnAt(segment) + (BigInt(from) * SEGMENT) / 16n;
  const end = lsnAt(segment) + (BigInt(to) * SEGMENT) / 16n;
  await open.logArchive(STORE)!.append({
    ...{ lineage: LINEAGE, name: pieceName(1, start, end, SEGMENT), kind: slice ? 'slice' : 'segment' },
    ...{ from: positionAt(LINEAGE, start), to: positionAt(LINEAGE, end), coversUntil: new Date(0).toISOString() },
    content: randomBytes(3_000),
  });
}

/** Two chains, segments and slices, a history file: seconds to make, and something of each kind. */
export async function fillStore(application: CopiedApplication, now = Date.now()): Promise<Manifest[]> {
  for (let segment = 0; segment < 3; segment += 1) await addLog(application, segment);
  for (let slice = 0; slice < 4; slice += 1) await addLog(application, 3, [slice, slice + 1]);
  await application.open.logArchive(STORE)!.putHistory(`${SYSTEM}-00000002.history`, Buffer.from('1\t0/5000000\tno\n'));
  const first = await addBackup(application, 'full', { at: now - 3 * DAY, segment: 0, sizes: [300_000, 200_000] });
  const parent = first.backupId;
  const second = await addBackup(application, 'incr', { at: now - 2 * DAY, parent, segment: 1, sizes: [100_000] });
  return [first, second, await addBackup(application, 'full', { at: now - DAY, segment: 2, sizes: [400_000] })];
}

/** Key → digest of everything that a restore may need. */
export async function contentOf(repository: Repository): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const prefix of ['catalog/', 'data/', 'keys/']) {
    for await (const { key } of repository.list(prefix))
      found[key] = createHash('sha256')
        .update(await repository.read(key))
        .digest('hex');
  }
  return found;
}

export function copyNow({ open }: Pick<CopiedApplication, 'open'>, wholeListing = false) {
  return open.copies(STORE)[0]!.copier.run(
    { wholeListing },
    null,
    () => undefined,
    async () => undefined,
    testContext(),
  );
}
