import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { createBackupActivities, type PreparedBackup } from '../../activities/backup';
import type { ActivityDeps } from '../../activities/deps';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createRepository } from '../../adapters/repository';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { createRetentionStore } from '../../adapters/retention/retention-store';
import { createSpool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import type { BackupType } from '../../core/catalog';
import type { LogArchive } from '../../core/log-archive';
import type { Repository } from '../../core/repository';
import { damaged } from '../support/damage';
import { inActivity } from '../support/in-activity';
import { ask, PostgresSource } from '../support/postgresql-source';
import { startPostgresStandby } from '../support/postgresql-standby';
import { seededRandom } from '../support/random';
import { startPostgres, waitUntil } from '../support/servers';

const random = seededRandom('backup-soundness');

/** What a worker makes of a config: a local repository with its catalogue, spool and log, and the activities over them. */
function productOf(source: PostgresSource, directory: string) {
  const codec = { codec: 'zstd', level: 3 } as const;
  const repository = createRepository(
    'local',
    { kind: 'local', directory: path.join(directory, 'repository'), prefix: 'x' },
    'shop',
  );
  const spool = createSpool({
    directory: path.join(directory, 'spool'),
    application: 'shop',
    codec,
    reserveBytes: 0,
  });
  const catalog = createCatalog(repository);
  const transfer = createTransfer({ repository, catalog, spool, codec, targetVolumeBytes: 2 ** 20 });
  const log = createLogArchive(repository, 'orders', source.engine.log!.naming);
  const open = {
    application: { name: 'shop' },
    engine: () => source.engine,
    catalog: () => catalog,
    transfer: () => transfer,
    logArchive: () => log,
    retentionStore: () => createRetentionStore(repository, 'orders', source.engine.log!.naming),
  };
  const deps = { site: 'primary', hostId: 'h1', open: () => open } as unknown as ActivityDeps;
  return { repository, catalog, log, activities: createBackupActivities(deps) };
}

/** The backup's activities over a real PostgreSQL and a local repository. */
describe('a backup of which nothing could be restored is not made, and not built upon', () => {
  let server: Awaited<ReturnType<typeof startPostgres>>;
  let source: PostgresSource;
  let directory: string;
  let repository: Repository;
  let catalog: ReturnType<typeof createCatalog>;
  let log: LogArchive;
  let activities: ReturnType<typeof createBackupActivities>;

  beforeAll(async () => {
    server = await startPostgres();
    source = await PostgresSource.of({ primary: server });
    await ask(server.url, 'CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 2000) g');
    directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-sound-'));
    ({ repository, catalog, log, activities } = productOf(source, directory));
  }, 60_000);
  afterAll(async () => {
    await server?.stop();
    await fs.rm(directory, { recursive: true, force: true });
  });

  const prepare = (type: BackupType, refused: { refused?: string } = {}) =>
    inActivity(() =>
      activities.prepareBackup({ application: 'shop', store: 'orders', type, site: 'primary', ...refused }),
    );
  const copy = (prepared: PreparedBackup) => inActivity(() => activities.streamVolumes({ prepared, sequence: 0 }));
  const waitAndCommit = async (prepared: PreparedBackup, attempt: number) => {
    await inActivity(() => activities.waitForLog({ prepared, attempt }));
    await inActivity(() => activities.commitManifest({ prepared, attempt }));
  };
  const take = async (type: BackupType, refused: { refused?: string } = {}) => {
    const prepared = await prepare(type, refused);
    const { attempt } = await copy(prepared);
    await source.archive(1_500, 'primary', log);
    await waitAndCommit(prepared, attempt);
    return prepared.plan;
  };

  test('the log reaches its end, but begins behind its start: refused', async () => {
    const prepared = await prepare('full');
    const { attempt } = await copy(prepared);
    await ask(server.url, 'SELECT pg_switch_wal()');
    await ask(server.url, 'CHECKPOINT');
    await source.archive(1_500, 'primary', log);
    await expect(waitAndCommit(prepared, attempt)).rejects.toMatchObject({
      type: 'LogGap',
      message: expect.stringMatching(/could not be restored as its log is archived/),
    });
    expect((await take('full')).type).toBe('full');
  }, 60_000);

  test('a member of the chain that lost an object, or whose manifest is damaged: a full, which says so', async () => {
    const incremental = await take('incr');
    expect(incremental).toMatchObject({ type: 'incr', typeReason: null });
    expect((await prepare('incr')).plan).toMatchObject({ type: 'incr', parent: incremental.backupId });

    const early = path.join(directory, 'repository', 'x', 'shop', 'catalog', 'orders', incremental.backupId);
    const files = (await fs.readdir(early, { recursive: true })).filter((name) => name.endsWith('backup_manifest'));
    const file = path.join(early, files[0]!);
    const bytes = await fs.readFile(file);
    await fs.writeFile(file, damaged(bytes, random).bytes);
    const { plan } = await prepare('incr');
    expect(plan).toMatchObject({ type: 'full', parent: null, backupId: expect.stringContaining('-full-') });
    expect(plan.typeReason).toMatch(/^incremental asked, full taken: \S+-incr-\S+ is damaged: .*backup_manifest/);
    await fs.writeFile(file, bytes);
    expect((await prepare('incr')).plan.type).toBe('incr');

    const keys: string[] = [];
    for await (const { key } of repository.list('data/full/orders/')) keys.push(key);
    await repository.delete([keys.find((key) => key.includes(incremental.parent!) && /vol-00002/.test(key))!]);
    expect((await prepare('incr')).plan.typeReason).toMatch(/-full-\S+ is damaged: .*vol-00002\.tar\.zst is not in/);
    expect((await take('incr')).type).toBe('full');
  }, 60_000);

  test('WAL summaries that go between plan and dump: refused for good, so that the run takes a full and says why', async () => {
    const prepared = await prepare('incr');
    expect(prepared.plan).toMatchObject({ type: 'incr', typeReason: null });
    const parent = await catalog.get('orders', prepared.plan.parent!);
    await ask(server.url, 'INSERT INTO t SELECT g FROM generate_series(1, 2000) g');
    await ask(server.url, 'CHECKPOINT');
    const since = 'SELECT 1 FROM pg_available_wal_summaries() WHERE end_lsn > $1';
    const summarized = async () => (await ask(server.url, since, [parent.start!.value])).length > 0;
    // The summarizer of a server with nothing to do sleeps for up to 30 s (walsummarizer.c), here and in the dump.
    await waitUntil('a summary of what the incremental is made of', summarized, { deadlineMs: 60_000 });
    const summaries = path.join(server.dataDir, 'pg_wal', 'summaries');
    for (const file of await fs.readdir(summaries)) await fs.rm(path.join(summaries, file));

    const refused = await copy(prepared).catch((error: unknown) => error);
    expect(refused).toMatchObject({
      type: 'IncrementalRefused',
      nonRetryable: true,
      message: expect.stringMatching(/cannot continue the chain with \S+-incr-\S+: .*WAL summaries are required/),
    });
    await inActivity(() => activities.sweepAttempts({ prepared, keepAttempt: null }));
    const { backupId } = await take('full', { refused: (refused as Error).message });
    expect(await catalog.get('orders', backupId)).toMatchObject({
      type: 'full',
      parent: null,
      typeReason: expect.stringMatching(/^incremental asked, full taken: .* WAL summaries are required on timeline 1/),
    });
    // The next incremental builds on it.
    expect((await prepare('incr')).plan).toMatchObject({ type: 'incr', parent: backupId });
  }, 180_000);
});

describe('a backup that is read at a standby', () => {
  let primary: Awaited<ReturnType<typeof startPostgres>>;
  let standby: typeof primary;
  let source: PostgresSource;
  let directory: string;

  beforeAll(async () => {
    primary = await startPostgres();
    standby = await startPostgresStandby(primary);
    source = await PostgresSource.of({ primary, dr: standby }, { backupFrom: 'standby' });
    await ask(primary.url, 'CREATE TABLE t AS SELECT g AS id FROM generate_series(1, 2000) g');
    directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-sound-'));
    await source.archive(500, 'primary', productOf(source, directory).log);
  }, 60_000);
  afterAll(async () => {
    await standby?.stop();
    await primary?.stop();
    await fs.rm(directory, { recursive: true, force: true });
  });

  test.each([
    ['full', 'stream'],
    ['incr', 'spool'],
  ] as const)(
    '%s, %s: it is committed, and its manifest says which server it came from',
    async (type, mode) => {
      const { repository, log, activities } = productOf(source, directory);
      const prepared = await inActivity(() =>
        activities.prepareBackup({ application: 'shop', store: 'orders', type, site: 'primary' }),
      );
      const copied =
        mode === 'stream'
          ? inActivity(() => activities.streamVolumes({ prepared, sequence: 0 }))
          : Promise.all([
              inActivity(() => activities.uploadVolumes({ prepared })),
              inActivity(() => activities.dumpVolumes({ prepared, sequence: 0 })),
            ]).then(([uploaded]) => uploaded);
      const { attempt } = await copied;
      await inActivity(() => activities.verifyArtifacts({ prepared, attempt }));
      await source.archive(1_500, 'primary', log);
      await inActivity(() => activities.waitForLog({ prepared, attempt }));
      await inActivity(() => activities.commitManifest({ prepared, attempt }));
      const { backupId } = prepared.plan;
      expect(await createCatalog(repository).get('orders', backupId)).toMatchObject({
        type,
        typeReason: null,
        source: { site: 'dr', member: `${standby.host}:${standby.port}`, follows: 'primary' },
      });
    },
    60_000,
  );
});
