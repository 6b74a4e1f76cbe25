import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ActivityDeps, OpenApplication } from '../../activities/deps';
import { lookAtRetention } from '../../activities/retention-look';
import { announceUse } from '../../activities/uses';
import { createVerifyActivities, type StoreLook } from '../../activities/verify';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createProofs } from '../../adapters/catalog/proofs';
import { logReach } from '../../adapters/engines/postgresql/log-reach';
import { walNaming } from '../../adapters/engines/postgresql/lsn';
import { createLifecycle, createRepository } from '../../adapters/repository';
import { createStoreVerifier } from '../../adapters/verification/store-verifier';
import { type Artifact, chainOf, type Manifest } from '../../core/catalog';
import { failure } from '../../core/errors';
import { backupIdOf, layout } from '../../core/layout';
import type { LifecycleSettings } from '../../core/lifecycle/rules';
import { rulesOf, wantedLifecycle } from '../../core/lifecycle/wanted';
import type { Repository } from '../../core/repository';
import type { RetentionPolicy } from '../../core/retention/policy';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { faultyRepository } from '../support/faulty-repository';
import { manifestOf } from '../support/manifests';
import { countOf } from '../support/random';
import {
  applyRetention as apply,
  DAY,
  fill,
  keep,
  LATER,
  lineage,
  openStored,
  policy,
  STORE,
  storeArtifact,
} from '../support/retention/stored-store';
import { startTestS3, type TestS3 } from '../support/s3-repository';

/** Retention on real repositories: what goes, what stays, and what is left when it dies at any of its steps. */
let s3: TestS3;
let folder: string;
beforeAll(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-retention-'));
  s3 = await startTestS3();
}, 60_000);
afterAll(async () => {
  await s3?.server.stop();
  await fs.rm(folder, { recursive: true, force: true });
});

let counter = 0;
const repositories: [string, () => Repository][] = [
  [
    'a local folder',
    () =>
      createRepository('local', { kind: 'local', directory: path.join(folder, `${++counter}`), prefix: '' }, 'shop'),
  ],
  ['S3', () => s3.repository(`retention-${++counter}`)],
];

const openOver = (repository: Repository, keeping?: RetentionPolicy) => openStored(folder, repository, keeping);

async function keysOf(repository: Repository): Promise<string[]> {
  const keys: string[] = [];
  for (const prefix of ['catalog/', 'data/']) for await (const { key } of repository.list(prefix)) keys.push(key);
  return keys.filter((key) => !key.endsWith('decision.json')).toSorted();
}

/** Every backup that exists has its data, its parents and its log. */
async function expectSound(repository: Repository): Promise<void> {
  const open = openOver(repository);
  const all = await createCatalog(repository).list(STORE);
  expect(all.length).toBeGreaterThan(0);
  const { plan } = await lookAtRetention(open, STORE, Date.now(), testContext());
  expect(plan.problems).toEqual([]);
  for (const manifest of all) {
    expect(chainOf(manifest, all)).not.toBeNull();
    expect([manifest.backupId, await open.transfer(STORE).whyIncomplete(manifest)]).toEqual([manifest.backupId, null]);
  }
}

describe.each(repositories)('in %s', (_, make) => {
  test('what nothing needs goes, with its data and its log; the rest stays as it is', async () => {
    const repository = make();
    const now = Date.now();
    const manifests = await fill(repository, now);
    const before = await keysOf(repository);
    const { swept } = await apply(openOver(repository), now + LATER);
    const left = (await createCatalog(repository).list(STORE)).map(({ backupId }) => backupId);
    // Fulls of eight days and those that the log begins at; increments of four days: all of them are older by then but the last.
    const kept = manifests.filter(
      ({ type, consistentAt }) => type === 'full' && Date.parse(consistentAt) > now + LATER - 8 * DAY,
    );
    expect(left).toEqual(kept.map(({ backupId }) => backupId));
    expect(swept.backups.objects).toBe(manifests.length - kept.length);
    const after = await keysOf(repository);
    expect(after.every((key) => before.includes(key))).toBe(true);
    expect(after.filter((key) => key.startsWith('data/') && !key.startsWith('data/log/')).length).toBe(kept.length);
    expect(swept.log.objects).toBeGreaterThan(0);
    await expectSound(repository);
    expect((await apply(openOver(repository), now + LATER, 'run-2')).swept).toMatchObject({
      backups: { objects: 0 },
      log: { objects: 0 },
    });
  }, 60_000);
});

describe('in a local folder', () => {
  const make = repositories[0]![1];

  test('a hold and a run that restores keep what they need; an interrupted run is repeated', async () => {
    const repository = make();
    const now = Date.now();
    const manifests = await fill(repository, now);
    const open = openOver(repository);
    const [held, used] = [manifests[1] as Manifest, manifests[3] as Manifest];
    const stored = open.retentionStore(STORE);
    const hold = { store: STORE, backupId: held.backupId, by: 'sam', reason: 'audit', at: new Date(now).toISOString() };
    await stored.hold(hold);
    await stored.hold(hold);
    await expect(stored.hold({ ...hold, by: 'kim' })).rejects.toThrow(/held already, by sam: audit/);
    const until = new Date(now + LATER + DAY).toISOString();
    await stored.announce({
      store: STORE,
      kind: 'restore',
      by: 'restore:shop:1',
      backups: [used.backupId],
      since: hold.at,
      until,
    });
    const { swept } = await apply(open, now + LATER);
    const left = (await createCatalog(repository).list(STORE)).map(({ backupId }) => backupId);
    for (const { backupId, parent } of [held, used]) expect(left).toEqual(expect.arrayContaining([backupId, parent]));
    expect(swept.log.objects).toBe(0);
    await stored.release({ backupId: held.backupId, by: 'kim', reason: 'done', at: hold.at });
    await stored.withdraw('restore:shop:1');
    await apply(open, now + LATER, 'run-2');
    const ended = (await createCatalog(repository).list(STORE)).map(({ backupId }) => backupId);
    expect(ended.filter((each) => [held.backupId, held.parent, used.backupId, used.parent].includes(each))).toEqual([]);
    await expectSound(repository);
  }, 60_000);

  test('who lists backups while one is deleted is not disturbed; who may not write is not kept from restoring', async () => {
    const repository = make();
    const now = Date.now();
    const [first, ...others] = await fill(repository, now);
    const key = layout.manifest(STORE, (first as Manifest).backupId);
    const deleting = faultyRepository(repository, {
      before: (operation, read) => (operation === 'read' && read === key ? repository.delete([key]) : undefined),
    });
    const left = await createCatalog(deleting).list(STORE);
    expect(left.map(({ backupId }) => backupId)).toEqual(others.map(({ backupId }) => backupId));
    const readOnly = faultyRepository(repository, {
      before(operation) {
        if (operation === 'put') throw failure('AccessDenied', 'may not write');
      },
    });
    const announce = () => announceUse(openOver(readOnly), STORE, { kind: 'restore', backups: [] }, testContext());
    await expect(new MockActivityEnvironment().run(announce)).resolves.toBeUndefined();
  }, 60_000);

  test('a restore that is announced while the log is listed for its deletion keeps all of it', async () => {
    const repository = make();
    const now = Date.now();
    await fill(repository, now);
    const stored = openOver(repository).retentionStore(STORE);
    const [since, until] = [new Date(now).toISOString(), new Date(now + LATER + DAY).toISOString()];
    const use = { store: STORE, kind: 'restore', by: 'restore:shop:1', backups: [], since, until } as const;
    let listings = 0;
    const announced = faultyRepository(repository, {
      async before(operation, key) {
        // The mark and the look of the sweep ask twice each for the folder and for what is in it; then comes the deletion's own.
        if (operation === 'list' && key === layout.log(STORE, lineage) && ++listings === 9) await stored.announce(use);
      },
    });
    const { marked, swept } = await apply(openOver(announced), now + LATER);
    expect({ listings, marked: marked.log.objects > 0, deleted: swept.log.objects }).toEqual({
      listings: 9,
      marked: true,
      deleted: 0,
    });
  }, 60_000);

  test('a backup that is committed while a sweep is under way keeps what it builds on', async () => {
    const repository = make();
    const now = Date.now();
    const [first] = await fill(repository, now);
    const parent = (first as Manifest).backupId;
    let looks = 0;
    const open = openOver(
      faultyRepository(repository, {
        async before(operation, key) {
          // Behind the look of the sweep, before its first deletion.
          if (operation !== 'put' || !key.includes('/sweeps/') || ++looks !== 1) return;
          const backupId = backupIdOf(new Date(now).toISOString(), 'incr', 'cccccccc');
          const changes = {
            store: STORE,
            engine: 'postgresql',
            type: 'incr',
            parent,
            committedAt: new Date(now + LATER),
          };
          const committedAt = changes.committedAt.toISOString();
          await createCatalog(repository).commit(
            manifestOf(backupId, [], { ...changes, committedAt } as Partial<Manifest>),
          );
        },
      }),
    );
    await apply(open, now + LATER);
    const left = (await createCatalog(repository).list(STORE)).map(({ backupId }) => backupId);
    expect(left).toContain(parent);
  }, 60_000);

  test.each([true, false])(
    'what a backup builds on stays also when its manifest cannot be read (its commit noted it: %s)',
    async (noted) => {
      const repository = make();
      const now = Date.now();
      const [parent, child] = (await fill(repository, now)) as [Manifest, Manifest];
      const keeping = { ...policy, databaseFull: keep(1), databaseIncremental: keep(30), transactionLogs: keep(1) };
      await repository.put(layout.manifest(STORE, child.backupId), Buffer.from('{'));
      if (!noted) await repository.put(layout.decision(STORE, child.backupId), Buffer.from('{'));
      const before = await keysOf(repository);
      const { marked, swept } = await apply(openOver(repository, keeping), now + LATER);
      const left = await keysOf(repository);
      const needed = (key: string) => key.includes(parent.backupId) || key.includes(child.backupId);
      expect(left.filter(needed)).toEqual(before.filter(needed));
      expect(marked.problems).toEqual([expect.stringContaining(`${child.backupId} cannot be restored`)]);
      // Where nobody knows what it needs of the log, nothing goes that was stored since.
      expect(swept.log.objects > 0).toBe(noted);
    },
    60_000,
  );

  test('while a store is verified nothing of it goes, so that nothing looks like damage', async () => {
    const repository = make();
    const now = Date.now();
    await fill(repository, now);
    let swept: Awaited<ReturnType<typeof apply>> | null = null;
    const slow = faultyRepository(repository, {
      async before(operation, key) {
        if (operation !== 'list' || key !== layout.storeData('full', STORE) || swept) return;
        swept = await apply(openOver(repository), now + LATER);
      },
    });
    const [from, to] = ['2000-01-01T00:00:00.000Z', '2100-01-01T00:00:00.000Z'];
    const windows = async () => [{ from, to, lineage, exact: true }];
    const open = openOver(slow);
    const engine = { ...open.engine(STORE), windows };
    const log = { naming: walNaming, reach: logReach, keptSeconds: null };
    const verified = {
      ...open,
      engine: () => engine,
      proofs: () => createProofs(slow),
      verifier: () => createStoreVerifier({ repository: slow, store: STORE, log }),
    } as unknown as OpenApplication;
    const verifying = createVerifyActivities({ open: () => verified } as unknown as ActivityDeps);
    const input = { application: 'shop', store: STORE };
    const look = await new MockActivityEnvironment().run<[], StoreLook, () => Promise<StoreLook>>(() =>
      verifying.lookAtStore(input),
    );
    expect(swept).toMatchObject({ swept: { backups: { objects: 0 }, log: { objects: 0 } } });
    expect(look.findings.filter(({ severity }) => severity === 'damage')).toEqual([]);
    await new MockActivityEnvironment().run(() => verifying.endLooking(input));
    expect((await apply(openOver(repository), now + LATER, 'run-2')).swept.backups.objects).toBeGreaterThan(0);
  }, 60_000);

  test('the newest backup stays however old it is, and the one before it where that has lost a part', async () => {
    const repository = make();
    const now = Date.now();
    const manifests = await fill(repository, now);
    const newest = manifests.at(-1) as Manifest;
    await repository.delete([(newest.artifacts[0] as Artifact).key]);
    await apply(openOver(repository), now + 400 * DAY);
    const left = (await createCatalog(repository).list(STORE)).map(({ backupId }) => backupId);
    const before = manifests.at(-2) as Manifest;
    expect(left).toEqual([before.parent, before.backupId]);
    await expectSound(repository);
  }, 60_000);

  test('what crashes left goes when it is old, and what may still run stays', async () => {
    const repository = make();
    const now = Date.now();
    await fill(repository, now);
    const orphan = backupIdOf(new Date(now - 6 * DAY).toISOString(), 'full', 'aaaaaaaa');
    const key = `${layout.attempt('full', STORE, orphan, 1)}vol-00001.tar.zst`;
    await storeArtifact(repository, key, 'orphan');
    await apply(openOver(repository), now);
    expect(await repository.head(key)).not.toBeNull();
    const { swept } = await apply(openOver(repository), now + 2 * DAY, 'run-2');
    expect(swept.leftovers.objects).toBeGreaterThan(0);
    expect(await repository.head(key)).toBeNull();
    // Its backup can never come back: a commit that comes now is refused.
    const late = manifestOf(orphan, [], { store: STORE, engine: 'postgresql' });
    await expect(createCatalog(repository).commit(late)).rejects.toThrow(/was given up/);
  }, 60_000);
});

test('the expiry of what retention leaves is a rule that a real S3 keeps; what it cannot do is named', async () => {
  const root = `lifecycle-${++counter}/shop`;
  const lifecycle = createLifecycle('cloud', s3.settings(root.split('/')[0]!), 'shop');
  const rules = (transitions: LifecycleSettings['transitions']) => {
    const wanted = wantedLifecycle({ transitions, expireAfterDays: 60 }, policy, 'STANDARD');
    return rulesOf(lifecycle.root, wanted, { orphansAfterSeconds: 86_400 }, false);
  };
  const { rules: kept } = await lifecycle.write(rules([]));
  expect(kept.map(({ id, expires }) => [id, expires?.days])).toEqual([
    ...(['full', 'incr', 'files', 'config'] as const).map((kind) => [`drctl:${root}/${kind}`, 60]),
    [`drctl:${root}/uploads`, undefined],
  ]);
  expect((await lifecycle.read()).rules).toEqual(kept);
  const archive = rules([{ afterDays: 1, storageClass: 'INTELLIGENT_TIERING' }]);
  await expectFailure(lifecycle.write(archive), 'ConfigInvalid', 'does not accept the request: NotImplemented');
  await lifecycle.write([]);
  expect((await lifecycle.read()).rules).toEqual([]);
}, 30_000);

test.each(repositories)(
  'killed at any change that it makes in %s: no backup is ever without its data, and the next run ends it',
  async (_, make) => {
    const now = Date.now();
    const whole = make();
    await fill(whole, now);
    const changes = await changesUntilDeath(whole, Infinity, now);
    const expected = await keysOf(whole);
    const kills = Math.min(changes, countOf('KILLS', 2));
    for (let kill = 0; kill < kills; kill += 1) {
      const dieAt = Math.floor((kill * changes) / kills);
      const repository = make();
      await fill(repository, now);
      await changesUntilDeath(repository, dieAt, now);
      await expectSound(repository);
      await apply(openOver(repository), now + LATER);
      expect({ dieAt, of: changes, keys: await keysOf(repository) }).toEqual({ dieAt, of: changes, keys: expected });
    }
  },
  600_000,
);

/** The changes that a run makes before it dies at that one, or has ended. A request of many keys dies in its middle. */
async function changesUntilDeath(repository: Repository, dieAt: number, now: number): Promise<number> {
  let changes = 0;
  const change = async (operation: string, half: () => Promise<void>) => {
    if (operation !== 'put' && operation !== 'delete') return;
    if (changes === dieAt) {
      await half();
      throw new Error('killed');
    }
    changes += 1;
  };
  const dying: Repository = {
    ...faultyRepository(repository, { before: (operation) => change(operation, async () => {}) }),
    async delete(keys) {
      await change('delete', () => repository.delete(keys.slice(0, Math.floor(keys.length / 2))));
      await repository.delete(keys);
    },
  };
  const ended = await Promise.allSettled([apply(openOver(dying), now + LATER)]);
  const how = ended[0].status === 'rejected' ? String(ended[0].reason) : 'by itself';
  expect({ dieAt, how }).toEqual({ dieAt, how: dieAt === Infinity ? 'by itself' : 'Error: killed' });
  return changes;
}
