import type { OpenApplication } from '../activities/deps';
import { lookAtRetention } from '../activities/retention-look';
import { logReach } from '../adapters/engines/postgresql/log-reach';
import { lineageOf, pieceName, positionAt, walNaming } from '../adapters/engines/postgresql/lsn';
import { createRetentionStore } from '../adapters/retention/retention-store';
import type { Artifact, Manifest } from '../core/catalog';
import { backupIdOf, layout } from '../core/layout';
import type { Repository, StoredObject } from '../core/repository';
import type { RetentionPolicy } from '../core/retention/policy';
import { restartWithBoundedMemory } from '../workers/bounded-memory';
import type { Bench, BenchContext } from './bench';
import { figure, type Figure } from './figure';

const [STORES, BACKUPS, PIECES] = [50, 20_000, 1_000_000];
/** The log of a busy database and of a second one; the others have none. */
const LOGS = 2;
const [HOUR, DAY] = [3_600_000, 86_400_000];
const PIECE_BYTES = 2n ** 20n;
const SEGMENT_BYTES = 16n * PIECE_BYTES;
const NOW = Date.parse('2033-01-01T00:00:00Z');

const keep = (days: number) => ({ local: 0, cloud: days * 86_400, archive: days * 86_400 });
const policy: RetentionPolicy = {
  databaseFull: keep(90),
  databaseIncremental: keep(30),
  transactionLogs: keep(60),
  files: keep(30),
  configuration: keep(365),
};

/** Issue 6: within 30 s and 500 MiB. The listings are made up as fast as they are read: what is measured is the planning. */
export const retention: Bench = {
  summary: 'planning what may be deleted of 20,000 backups and a million pieces of log, in 50 stores',
  run: ({ rounds, say }) => measure(rounds, say),
};

async function measure(rounds: number, say: BenchContext['say']): Promise<Figure[]> {
  // As in a worker, whose figure this is.
  restartWithBoundedMemory();
  const [seconds, peaks]: [number[], number[]] = [[], []];
  let going = 0;
  for (let round = 1; round <= rounds; round += 1) {
    let took = 0;
    going = 0;
    for (let index = 0; index < STORES; index += 1) {
      const store = `store-${index}`;
      const backups = backupsOf(store, index < LOGS);
      const startedAt = performance.now();
      const log = { debug() {}, info() {}, warn() {}, error() {} };
      const ctx = { signal: new AbortController().signal, log, progress() {} };
      const look = await lookAtRetention(openOver(store, backups), store, NOW, ctx);
      going += look.plan.backups.filter(({ keptFor }) => keptFor.length === 0).length;
      took += performance.now() - startedAt;
    }
    seconds.push(took / 1_000);
    peaks.push(process.resourceUsage().maxRSS / 1_024);
    say(`  round ${round}: ${seconds.at(-1)?.toFixed(1)} s, ${peaks.at(-1)?.toFixed(0)} MiB`);
  }
  const note = `${going} of ${BACKUPS} backups are deletable; one store after the other, listings made up`;
  const of = `${BACKUPS} backups and ${PIECES} pieces of log`;
  return [
    figure({ name: `planning ${of}`, unit: 's', values: seconds, aim: { valueAtMost: 30 }, note }),
    figure({ name: `peak memory, planning ${of}`, unit: 'MiB', values: peaks, aim: { valueAtMost: 500 } }),
  ];
}

const piecesOf = PIECES / LOGS;
/** One every ten seconds. */
const storedAt = (index: number) => NOW - (piecesOf - index) * 10_000;
const lsnAt = (at: number) =>
  BigInt(Math.max(0, Math.floor((at - storedAt(0)) / 10_000))) * PIECE_BYTES + SEGMENT_BYTES;

/** A full a day and an increment every four hours, of two volumes each. */
function backupsOf(store: string, hasLog: boolean): Manifest[] {
  const count = BACKUPS / STORES;
  const lineage = lineageOf('7000', 1);
  let parent: string | null = null;
  return Array.from({ length: count }, (_, index): Manifest => {
    const at = NOW - (count - index) * 4 * HOUR + HOUR;
    const type = index % 6 === 0 ? 'full' : 'incr';
    const time = new Date(at).toISOString();
    const backupId = backupIdOf(time, type, index.toString(16).padStart(8, '0'));
    const builtOn = type === 'full' ? null : parent;
    parent = backupId;
    const artifacts = [1, 2].map((volume): Artifact => {
      const key = `${layout.attempt(type, store, backupId, 1)}vol-0000${volume}.tar.zst`;
      const sizes = {
        sizeBytes: 1e8,
        contentBytes: 4e8,
        sha256: backupId.padEnd(64, '0'),
        contentSha256: backupId.padEnd(64, '1'),
      };
      return { name: `vol-0000${volume}.tar`, key, ...sizes, codec: 'zstd', encryptionKeyId: null };
    });
    const position = (bytes: bigint) => (hasLog ? positionAt(lineage, lsnAt(at) + bytes) : null);
    return {
      ...{ formatVersion: 1, backupId, application: 'bench', store, engine: 'postgresql', type, parent: builtOn },
      ...{ typeReason: null, committedAt: time, consistentAt: time, startedAt: time, artifacts, early: [], attempt: 1 },
      ...{ workflowId: `backup:bench:${store}`, runId: 'bench', identity: '7000', lineage: hasLog ? lineage : null },
      ...{ serverVersion: '18', toolVersions: {}, source: { site: 'primary', member: 'bench' }, warnings: [] },
      ...{ start: position(40n), stop: position(400n), detail: { segmentBytes: Number(SEGMENT_BYTES) } },
    };
  });
}

function openOver(store: string, backups: readonly Manifest[]): OpenApplication {
  const hasLog = backups[0]?.lineage !== null;
  const repository = madeUp(store, backups, hasLog);
  return {
    engine: () => ({
      artifactKind: (type: string) => type,
      log: hasLog ? { naming: walNaming, reach: logReach } : null,
    }),
    catalog: () => ({
      list: async () => backups,
      damaged: async () => [],
      get: async (_: string, id: string) => backups.find(({ backupId }) => backupId === id),
    }),
    transfer: () => ({ whyIncomplete: async () => null }),
    logArchive: () => (hasLog ? { history: async () => new Map() } : null),
    retention: { policy, graceSeconds: 0, maxDeleteShare: 1, orphansAfterSeconds: DAY / 1_000 },
    retentionStore: () => createRetentionStore(repository, store, hasLog ? walNaming : null),
  } as unknown as OpenApplication;
}

const STANDARD = { storageClass: 'STANDARD' } as const;

/** A repository that lists a page of what the backups and the log would be, without holding it. */
function madeUp(store: string, backups: readonly Manifest[], hasLog: boolean): Repository {
  async function* list(prefix: string): AsyncGenerator<StoredObject> {
    if (prefix === layout.manifests(store)) {
      for (const { backupId, committedAt } of backups)
        yield { key: layout.manifest(store, backupId), sizeBytes: 2_000, modifiedAt: committedAt, ...STANDARD };
    }
    if (!hasLog || !prefix.startsWith(layout.logs(store))) return;
    for (let index = 0; index < piecesOf; index += 1) {
      const from = SEGMENT_BYTES + BigInt(index) * PIECE_BYTES;
      const name = pieceName(1, from, from + PIECE_BYTES, SEGMENT_BYTES);
      const modifiedAt = new Date(storedAt(index)).toISOString();
      yield { key: `${prefix}${name}.zst`, sizeBytes: 2e5, modifiedAt, ...STANDARD };
    }
  }
  const folders = async (prefix: string) =>
    prefix === layout.logs(store)
      ? { names: ['7000'], hasObjects: false }
      : prefix === `${layout.logs(store)}7000/`
        ? { names: ['1'], hasObjects: false }
        : prefix.startsWith(layout.logs(store))
          ? { names: [], hasObjects: true }
          : { names: backups.map(({ backupId }) => backupId), hasObjects: false };
  return { list, folders, async *unfinishedUploads() {} } as unknown as Repository;
}
