import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { markStore } from '../../activities/retention';
import { sweepStore } from '../../activities/retention-sweep';
import { createRepository } from '../../adapters/repository';
import type { Artifact, Manifest } from '../../core/catalog';
import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { testContext } from '../support/call-context';
import {
  addBackup,
  addLog,
  contentOf,
  copiedApplication,
  copyNow,
  DAY,
  fillStore,
  LINEAGE,
  STORE,
} from '../support/copied-store';
import { openEncryption, keyFileOf, rsaKeyPair, startEncryption } from '../support/data-keys';
import { faultyRepository } from '../support/faulty-repository';
import { countOf } from '../support/random';
import { startTestS3, type TestS3 } from '../support/s3-repository';

/** Copies between real repositories: complete, verified, gone on with after a death, and never in the way of retention. */
let s3: TestS3;
let folder: string;
beforeAll(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-copies-'));
  s3 = await startTestS3();
}, 60_000);
afterAll(async () => {
  await s3?.server.stop();
  await fs.rm(folder, { recursive: true, force: true });
});

let counter = 0;
const local = (name = 'cloud') =>
  createRepository(name, { kind: 'local', directory: path.join(folder, `${++counter}`), prefix: '' }, 'shop');
const inS3 = (name = 'cloud') => createRepository(name, s3.settings(`copies-${++counter}`), 'shop');

const routes: [string, () => Repository, () => Repository][] = [
  ['a folder to S3', () => local('cloud'), () => inS3('offsite')],
  ['S3 to S3', () => inS3('cloud'), () => inS3('offsite')],
  ['S3 to a folder', () => inS3('cloud'), () => local('offsite')],
];

describe.each(routes)('from %s', (_, from, to) => {
  test('everything that a restore needs is there, byte for byte; a second run sends nothing; slices become their segment', async () => {
    const application = copiedApplication(from(), to(), folder);
    await fillStore(application);
    // In several parts, so that they are verified together.
    await addBackup(application, 'full', { at: Date.now(), segment: 2, sizes: [20 * 2 ** 20] });
    const first = await copyNow(application);
    expect(await contentOf(application.offsite)).toEqual(await contentOf(application.cloud));
    expect(first).toMatchObject({ backups: { objects: 4 }, log: { objects: 7 }, notCopied: [] });
    const [compared] = await Promise.all(application.open.copies(STORE).map(({ copier }) => copier.compare()));
    expect(compared).toMatchObject({ backups: 4, missing: [], more: [], completeUntil: first.completeUntil });

    await addLog(application, 3);
    const entries = await application.open.logArchive(STORE)!.replaced(LINEAGE);
    for (const { slices, segment } of entries) await application.open.logArchive(STORE)!.replace(slices, segment);
    const nothing = { objects: 0, sizeBytes: 0 };
    expect(await copyNow(application)).toMatchObject({ backups: nothing, log: { objects: 1 } });
    expect(await contentOf(application.offsite)).toEqual(await contentOf(application.cloud));
    expect(await copyNow(application, true)).toMatchObject({ backups: nothing, log: nothing, others: nothing });
    for (const manifest of await application.open.catalog(STORE).list(STORE)) {
      const copied = application.open.copy('offsite').transfer(STORE);
      for (const artifact of manifest.artifacts) expect(await copied.whyUnusable(artifact, 'read')).toBeNull();
    }
  }, 60_000);
});

/** Dies at that change of the copy: the one that is made then is lost as well. */
function dying(to: Repository, dieAt: number): { readonly repository: Repository; changes: () => number } {
  let changes = 0;
  const repository = faultyRepository(to, {
    before(operation) {
      if (!['put', 'uploadFrom', 'uploadStream', 'delete'].includes(operation)) return;
      if (changes >= dieAt) throw failure('RepositoryUnavailable', 'killed by the test');
      changes += 1;
    },
  });
  return { repository, changes: () => changes };
}

async function expectWholeBackups(application: ReturnType<typeof copiedApplication>): Promise<void> {
  const copy = application.open.copy('offsite');
  for (const manifest of await copy.catalog(STORE).list(STORE))
    expect([manifest.backupId, await copy.transfer(STORE).whyIncomplete(manifest)]).toEqual([manifest.backupId, null]);
}

test('killed at any change that it makes: no backup of the copy is ever without its data, and the next run ends it', async () => {
  const cloud = local();
  const source = copiedApplication(cloud, local('offsite'), folder);
  await fillStore(source);
  const whole = dying(local('offsite'), Infinity);
  await copyNow(copiedApplication(cloud, whole.repository, folder));
  const kills = Math.min(whole.changes(), countOf('KILLS', 6));
  for (let kill = 0; kill < kills; kill += 1) {
    const dieAt = Math.floor((kill * whole.changes()) / kills);
    const to = local('offsite');
    const killed = copiedApplication(cloud, dying(to, dieAt).repository, folder);
    await expect(copyNow(killed)).rejects.toThrow(/killed by the test/);
    const next = copiedApplication(cloud, to, folder);
    await expectWholeBackups(next);
    await copyNow(next);
    expect({ dieAt, content: await contentOf(to) }).toEqual({ dieAt, content: await contentOf(cloud) });
  }
}, 120_000);

test('a large volume goes on from the parts that were stored, and is verified as a whole', async () => {
  const cloud = local();
  const to = inS3('offsite');
  const application = copiedApplication(cloud, to, folder);
  const large = { at: Date.now(), segment: 0, sizes: [44 * 2 ** 20], spooled: true };
  const { artifacts } = await addBackup(application, 'full', large);
  const [{ key, sizeBytes }] = artifacts as [Artifact];
  const read: number[] = [];
  let diesAt = 4 * 8 * 2 ** 20;
  const counting: Repository = {
    ...cloud,
    async get(of, range) {
      if (of === key && range && range.start >= diesAt) throw failure('RepositoryUnavailable', 'killed by the test');
      if (of === key && range) read.push(range.start / (8 * 2 ** 20));
      return cloud.get(of, range);
    },
  };
  await expect(copyNow(copiedApplication(counting, to, folder))).rejects.toThrow(/killed by the test/);
  diesAt = Infinity;
  await copyNow(copiedApplication(counting, to, folder));
  // SeaweedFS lists no checksum of parts, so that they are read and compared; none of them is sent again.
  expect(read.slice(0, 4)).toEqual([0, 1, 2, 3]);
  expect(await to.head(key)).toMatchObject({ sizeBytes });
  expect(await application.open.copy('offsite').transfer(STORE).whyUnusable(artifacts[0]!, 'read')).toBeNull();
  const unfinished: string[] = [];
  for await (const { key: left } of to.unfinishedUploads('data/')) unfinished.push(left);
  expect(unfinished).toEqual([]);
}, 60_000);

test('what is damaged at the source is named and not copied; everything else is, and so is it once it is whole again', async () => {
  const application = copiedApplication(local(), local('offsite'), folder);
  const [first, second, third] = (await fillStore(application)) as [Manifest, Manifest, Manifest];
  const { cloud, offsite, open } = application;
  const [broken] = first.artifacts as [Artifact];
  const intact = await cloud.read(broken.key);
  await cloud.put(broken.key, Buffer.concat([intact.subarray(0, -1), Buffer.from('x')]));
  const { notCopied, backups } = await copyNow(application);
  expect(notCopied.map(({ key }) => key)).toEqual([broken.key]);
  expect(backups.objects).toBe(1);
  const there = (await open.copy('offsite').catalog(STORE).list(STORE)).map(({ backupId }) => backupId);
  // The increment on it would be no use without it.
  expect(there).toEqual([third.backupId]);
  expect(await open.copies(STORE)[0]!.copier.record()).toMatchObject({ notCopied });
  await cloud.put(broken.key, intact);
  expect(await copyNow(application)).toMatchObject({ backups: { objects: 2 }, notCopied: [] });
  expect(await contentOf(offsite)).toEqual(await contentOf(cloud));

  // And damage of the copy is made good by the next complete comparison.
  const [entry] = await open.logArchive(STORE)!.entries(LINEAGE);
  await offsite.put(entry!.key, Buffer.from('cut'));
  await offsite.delete([layout.manifest(STORE, second.backupId), second.artifacts[0]!.key]);
  await copyNow(application, true);
  expect(await contentOf(offsite)).toEqual(await contentOf(cloud));
}, 60_000);

test('data keys go along, and the copy alone is read with them', async () => {
  const [cloud, offsite] = [local(), local('offsite')];
  const recipients = { workers: keyFileOf(rsaKeyPair()) };
  const { keyId, cipher } = await startEncryption([cloud], recipients);
  const application = copiedApplication(cloud, offsite, folder, cipher);
  const manifests = await fillStore(application);
  expect(await copyNow(application)).toMatchObject({ others: { objects: 2 } });
  const alone = openEncryption([offsite], recipients, keyId);
  const reader = copiedApplication(offsite, local('none'), folder, alone.cipher);
  for (const manifest of manifests) {
    const source = reader.open.transfer(STORE).source([manifest]);
    for (const artifact of manifest.artifacts) for await (const _ of await source.open(artifact));
  }
}, 60_000);

test('a copy deletes by its own retention: held as the source is, nothing that is still to come loses what it builds on', async () => {
  const application = copiedApplication(local(), local('offsite'), folder);
  const now = Date.now();
  const [first, second] = (await fillStore(application, now)) as [Manifest, Manifest];
  const { open, cloud } = application;
  const copy = open.copy('offsite');
  await copyNow(application);
  const later = now + 9 * DAY;
  const late = { at: later - DAY, parent: first.backupId, segment: 2, sizes: [50_000] };
  const waiting = await addBackup(application, 'incr', late);
  const newest = await addBackup(application, 'full', { at: later - DAY / 2, segment: 2, sizes: [50_000] });
  const sweep = async (runId: string) => {
    const input = { application: 'shop', store: STORE, runId, by: 'sam', graceSeconds: 0, maxDeleteShare: null };
    await markStore(copy, input, testContext(), later);
    await sweepStore(copy, { store: STORE, runId, clock: () => later }, testContext());
    return (await copy.catalog(STORE).list(STORE)).map(({ backupId }) => backupId);
  };
  const hold = { store: STORE, backupId: second.backupId, by: 'sam', reason: 'audit', at: new Date().toISOString() };
  await open.retentionStore(STORE).hold(hold);
  // The increment that is not copied yet keeps its full; the copy's own newest stays in any case.
  expect(await sweep('run-1')).toEqual(expect.arrayContaining([first.backupId, second.backupId]));
  await copyNow(application);
  const held = await sweep('run-2');
  expect(held).toEqual(expect.arrayContaining([first, second, waiting, newest].map(({ backupId }) => backupId)));
  expect(await copy.retentionStore(STORE).holds()).toMatchObject([hold]);
  const released = {
    backupId: hold.backupId,
    by: 'kim',
    reason: 'done',
    at: new Date(Date.now() + 1_000).toISOString(),
  };
  await open.retentionStore(STORE).release(released);
  await copyNow(application);
  expect(await copy.retentionStore(STORE).holds()).toEqual([]);
  const swept = await sweep('run-3');
  expect(swept).not.toContain(second.backupId);
  // What the copy gave up does not come back, though the source still has it.
  await copyNow(application, true);
  expect((await copy.catalog(STORE).list(STORE)).map(({ backupId }) => backupId)).toEqual(swept);
  expect(await cloud.head(layout.manifest(STORE, second.backupId))).not.toBeNull();
}, 60_000);

test('a copy that is under way is no leftover, and a source that does not answer keeps the copy from being swept', async () => {
  const cloud = local();
  const to = local('offsite');
  const source = copiedApplication(cloud, to, folder);
  await fillStore(source);
  const half = dying(to, 3);
  await copyNow(copiedApplication(cloud, half.repository, folder)).catch(() => undefined);
  const leftovers = await source.open.copy('offsite').retentionStore(STORE).leftovers();
  expect(leftovers).toEqual([]);
  expect((await fs.readdir(path.join(to.location, 'data'))).length).toBeGreaterThan(0);
  const away = faultyRepository(cloud, {
    before() {
      throw failure('RepositoryUnavailable', 'the source is away');
    },
  });
  const lone = copiedApplication(away, to, folder).open.copy('offsite');
  const input = { application: 'shop', store: STORE, runId: 'r', by: 'sam', graceSeconds: 0, maxDeleteShare: null };
  const mark = markStore(lone, input, testContext(), Date.now() + 100 * DAY);
  await expect(mark).rejects.toThrow(/the source is away/);
}, 60_000);
