import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import {
  GetBucketLifecycleConfigurationCommand,
  type LifecycleRule,
  PutBucketLifecycleConfigurationCommand,
} from '@aws-sdk/client-s3';
import type { OpenApplication } from '../../activities/deps';
import { createVerifyActivities } from '../../activities/verify';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createColdStorage } from '../../adapters/repository/cold-storage';
import { createRetentionStore } from '../../adapters/retention/retention-store';
import { createStoreVerifier } from '../../adapters/verification/store-verifier';
import { createVolumeSource } from '../../adapters/volumes/source';
import type { Artifact, Manifest } from '../../core/catalog';
import { backupIdOf, layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { isThawed, totalOf } from '../../core/thaw';
import { main } from '../../starters/main';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { inActivity } from '../support/in-activity';
import { manifestOf } from '../support/manifests';
import { type MotoS3, startMotoS3 } from '../support/moto-s3';
import { recordingIo } from '../support/recording-io';

/** What S3 does to backups as they grow old: the rules in a real bucket configuration, and objects of archive classes. */
let s3: MotoS3;
let folder: string;
beforeAll(async () => {
  folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-lifecycle-'));
  s3 = await startMotoS3();
}, 60_000);
afterAll(async () => {
  await s3?.stop();
  fs.rmSync(folder, { recursive: true, force: true });
});

const DAY = 86_400_000;

/** One volume of a backup of so many days ago, and its manifest. */
async function backUp(
  repository: Repository,
  ageDays: number,
  { store = 'application', storageClass = 'STANDARD', at = Date.now() } = {},
): Promise<Manifest> {
  const taken = new Date(at - ageDays * DAY).toISOString();
  const id = backupIdOf(taken, 'full', createHash('md5').update(taken).digest('hex').slice(0, 8));
  const bytes = Buffer.from(`content of ${id}`);
  const key = `${layout.attempt('files', store, id, 1)}vol-00001.tar`;
  await repository.put(key, bytes, { storageClass });
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  const artifact: Artifact = {
    ...{ name: 'vol-00001.tar', key, sizeBytes: bytes.length, contentBytes: bytes.length, sha256 },
    ...{ contentSha256: sha256, codec: 'none', encryptionKeyId: null },
  };
  const manifest = manifestOf(id, [artifact], {
    ...{ application: 'ultramarket', store, committedAt: taken, consistentAt: taken, startedAt: taken },
  });
  await createCatalog(repository).commit(manifest);
  return manifest;
}

describe('the rules of a bucket', () => {
  const THEIRS: LifecycleRule = {
    ID: 'logs of the load balancer',
    Status: 'Enabled',
    Filter: { And: { Prefix: 'elb/', Tags: [{ Key: 'kind', Value: 'log' }] } },
    Expiration: { Days: 14 },
    NoncurrentVersionExpiration: { NoncurrentDays: 3 },
  };
  let bucket: string;
  let config: string;
  beforeEach(async () => {
    bucket = await s3.bucket();
    config = path.join(folder, `${bucket}.yaml`);
    const key = path.join(folder, 'key');
    fs.writeFileSync(key, 'any');
    const credentials = `credentials: { accessKeyId: { file: ${key} }, secretAccessKey: { file: ${key} } }`;
    const text = fs
      .readFileSync('config/examples/ultramarket.yaml', 'utf8')
      .replace('bucket: ultramarket-backups', `bucket: ${bucket}\n    endpoint: ${s3.endpoint}\n    ${credentials}`)
      // One store is enough to be looked at: what is stored of the others would lie elsewhere.
      .replace('\nrepository: cloud', '\nrepository: offsite')
      .replace('  application:\n    engine: files', '  application:\n    repository: cloud\n    engine: files');
    fs.writeFileSync(config, text);
  });

  async function drctl(...argv: string[]) {
    const io = recordingIo();
    const exitCode = await main(['lifecycle', ...argv, 'cloud', '--config', config], io);
    return { exitCode, text: io.text() };
  }
  const put = (Rules: LifecycleRule[]) =>
    s3.admin.send(new PutBucketLifecycleConfigurationCommand({ Bucket: bucket, LifecycleConfiguration: { Rules } }));
  const rules = async () =>
    (await s3.admin.send(new GetBucketLifecycleConfigurationCommand({ Bucket: bucket })).catch(() => null))?.Rules ??
    [];

  test('are shown, compared, applied once, and taken back; rules of others stay as they are', async () => {
    await put([THEIRS]);
    const [theirs] = await rules();
    const plan = await drctl('plan');
    expect(plan).toMatchObject({ exitCode: 0 });
    expect(plan.text).toMatch(/data\/full\/ +STANDARD_IA 30d → GLACIER 90d → DEEP_ARCHIVE 365d → deleted 2585d/);
    expect(plan.text).toMatch(/drctl:ultramarket\/full +added/);
    expect(plan.text).toMatch(/logs of the load balancer +not ours/);
    expect(await rules()).toEqual([theirs]);

    expect((await drctl('apply')).text).toMatch(/Applied/);
    const applied = await rules();
    expect(applied[0]).toEqual(theirs);
    expect(applied.slice(1)).toMatchObject([
      {
        ID: 'drctl:ultramarket/full',
        Status: 'Enabled',
        Filter: { Prefix: 'ultramarket/data/full/' },
        Transitions: [
          { Days: 30, StorageClass: 'STANDARD_IA' },
          { Days: 90, StorageClass: 'GLACIER' },
          { Days: 365, StorageClass: 'DEEP_ARCHIVE' },
        ],
        Expiration: { Days: 2_585 },
      },
      { ID: 'drctl:ultramarket/incr', Filter: { Prefix: 'ultramarket/data/incr/' } },
      { ID: 'drctl:ultramarket/files' },
      { ID: 'drctl:ultramarket/config', Transitions: [{ Days: 30 }, { Days: 365, StorageClass: 'DEEP_ARCHIVE' }] },
      { ID: 'drctl:ultramarket/uploads', AbortIncompleteMultipartUpload: { DaysAfterInitiation: 7 } },
    ]);
    expect((await drctl('apply')).text).toMatch(/nothing to change/);
    expect(await rules()).toEqual(applied);
    const shown = await drctl('show');
    expect(shown.text).toMatch(
      /drctl:ultramarket\/config +drctl +ultramarket\/data\/config\/ +STANDARD_IA after 30d, DEEP/,
    );
    expect(shown.text).toMatch(/logs of the load balancer +others +elb\/ with tags +deletes after 14d, Noncurrent/);

    // What somebody changed by hand is put right, what the config no longer has goes.
    await put(applied.map((rule) => (rule.ID?.endsWith('files') ? { ...rule, Status: 'Disabled' } : rule)));
    expect((await drctl('plan')).text).toMatch(/drctl:ultramarket\/files +changed/);
    await drctl('apply');
    expect(await rules()).toEqual(expect.arrayContaining(applied));
    fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace(/^lifecycle:.*\n(?: .*\n)+/m, ''));
    expect((await drctl('apply')).text).toMatch(/drctl:ultramarket\/full +removed/);
    expect(await rules()).toEqual([theirs]);
  }, 60_000);

  test("somebody's rule that would delete or freeze what has to stay is refused by its name, and nothing is changed", async () => {
    const strategy: LifecycleRule = {
      ...{ ID: 'UltraMarketBackupLifecycle', Status: 'Enabled', Filter: { Prefix: '' }, Expiration: { Days: 2_555 } },
      Transitions: [{ Days: 90, StorageClass: 'GLACIER' }],
    };
    await put([strategy]);
    const before = await rules();
    const applied = await drctl('apply');
    expect(applied).toMatchObject({ exitCode: 47 });
    expect(applied.text).toMatch(/"UltraMarketBackupLifecycle" \(the whole bucket\) deletes after 2555 days/);
    expect(applied.text).toMatch(/moves to GLACIER what has to be read at once/);
    expect(await rules()).toEqual(before);
    expect(await drctl('plan')).toMatchObject({ exitCode: 47, text: expect.stringContaining('REFUSED') });
  }, 30_000);

  test('a newest backup that would freeze is seen in what is stored', async () => {
    await backUp(s3.repository(bucket), 120);
    const { exitCode, text } = await drctl('apply');
    expect(exitCode).toBe(47);
    expect(text).toMatch(
      /-full-\w+ of application moves to GLACIER on .*may be the newest of its store then: a restore/,
    );
    expect(await rules()).toEqual([]);
    await backUp(s3.repository(bucket), 0.5);
    expect((await drctl('apply')).exitCode).toBe(0);
  }, 30_000);

  test('an expiry that retention contradicts is refused before anything is asked of S3', async () => {
    fs.writeFileSync(config, fs.readFileSync(config, 'utf8').replace('expireAfter: 2555d', 'expireAfter: 365d'));
    const { exitCode, text } = await drctl('apply');
    expect(exitCode).toBe(47);
    expect(text).toMatch(/delete data\/full\/ after 365 days, and retention.databaseFull keeps them for 2555/);
    expect(await rules()).toEqual([]);
  }, 30_000);
});

describe('objects of archive classes', () => {
  test('are found by a listing, refused by a read, asked for once each, and read when they are back', async () => {
    const repository = s3.repository(await s3.bucket());
    await s3.comesBackAfter(2);
    const [deep, cold, warm] = [
      await backUp(repository, 400, { storageClass: 'DEEP_ARCHIVE' }),
      await backUp(repository, 100, { storageClass: 'GLACIER' }),
      await backUp(repository, 40, { storageClass: 'STANDARD_IA' }),
    ];
    const storage = createColdStorage(repository, 'application');
    expect(await storage.frozenBackups()).toEqual(new Set([deep.backupId, cold.backupId]));
    const ctx = testContext();
    expect(await storage.look({ chain: [warm], log: null }, ctx)).toBeNull();
    await expectFailure(repository.read(cold.artifacts[0]!.key), 'ObjectFrozen');
    expect(await repository.head(cold.artifacts[0]!.key)).toMatchObject({ copy: { state: 'none', until: null } });

    const scope = { chain: [deep, cold, warm], log: null };
    const settings = { tier: 'expedited', days: 3 } as const;
    const first = await storage.ask(scope, settings, ctx);
    expect(first).toMatchObject({ asked: { objects: 2 }, readable: { objects: 0 }, readableUntil: null });
    expect(totalOf(first!)).toMatchObject({ objects: 2 });
    let looked = first;
    for (let looks = 0; !isThawed(looked) && looks < 10; looks += 1) looked = await storage.ask(scope, settings, ctx);
    expect(looked).toMatchObject({ readable: { objects: 2 } });
    expect(Date.parse(looked!.readableUntil!) - Date.now()).toBeLessThan(3.1 * DAY);
    const source = createVolumeSource(repository, [cold]);
    const read = (await (await source.open(cold.artifacts[0]!)).toArray()) as Buffer[];
    expect(Buffer.concat(read).toString()).toBe(`content of ${cold.backupId}`);
  }, 30_000);

  test('log that somebody else moved there is found by when it was stored', async () => {
    const repository = s3.repository(await s3.bucket());
    const key = `${layout.log('application', 'L', '1-2')}.zst`;
    await repository.put(key, Buffer.from('log'), { storageClass: 'GLACIER' });
    const storage = createColdStorage(repository, 'application');
    const now = Date.now();
    const look = (from: number, to: number) => storage.look({ chain: [], log: { from, to } }, testContext());
    expect(await look(now - DAY, now + DAY)).toMatchObject({ byClass: { GLACIER: { objects: 1 } } });
    expect(await look(now - 3 * DAY, now - 2 * DAY)).toBeNull();
  }, 30_000);

  test('verification reads what can be read, says what it left out, and takes nothing frozen for damaged', async () => {
    const repository = s3.repository(await s3.bucket());
    const cold = await backUp(repository, 100, { storageClass: 'GLACIER' });
    const warm = await backUp(repository, 1);
    const catalog = createCatalog(repository);
    const open = {
      catalog: () => catalog,
      coldStorage: (store: string) => createColdStorage(repository, store),
      engine: () => ({ windows: async () => [] }),
      verifier: (store: string) => createStoreVerifier({ repository, store, log: null, commitMilliseconds: 0 }),
      copies: () => [],
      retentionStore: (store: string) => createRetentionStore(repository, store, null),
    } as unknown as OpenApplication;
    const activities = createVerifyActivities({ site: 's', hostId: 'h', open: () => open });
    const of = { application: 'ultramarket', store: 'application' };
    const choose = (choice: { readonly seed: number } | { readonly backupId: string }) =>
      inActivity(() => activities.chooseBackup({ ...of, choice }));
    const read = (chain: readonly string[] | null) =>
      inActivity(() => activities.readStore({ ...of, chain, known: [] }));
    for (let seed = 0; seed < 8; seed += 1)
      expect(await choose({ seed })).toMatchObject({ chosen: warm.backupId, frozen: 1 });
    const all = await read(null);
    expect(all.findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    expect(all.count).toMatchObject({ backups: 1, frozen: 1 });
    expect((await read([warm.backupId])).count.frozen).toBeUndefined();
    await repository.delete([layout.manifest('application', warm.backupId)]);
    await expectFailure(choose({ seed: 1 }), 'ObjectFrozen');
    expect(await choose({ backupId: cold.backupId })).toMatchObject({
      chosen: cold.backupId,
    });
  }, 30_000);
});
