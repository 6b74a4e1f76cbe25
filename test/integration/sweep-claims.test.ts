import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import { createBackupActivities, type PreparedBackup } from '../../activities/backup';
import type { ActivityDeps, OpenApplication } from '../../activities/deps';
import { underClaim } from '../../activities/sweep-claim';
import { announceUse, requireNotSwept, withdrawUse } from '../../activities/uses';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createRepository } from '../../adapters/repository';
import type { Manifest } from '../../core/catalog';
import type { DumpRequest } from '../../core/engine';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { testContext } from '../support/call-context';
import { faultyRepository } from '../support/faulty-repository';
import {
  applyRetention,
  fill,
  keep,
  LATER,
  lineage,
  openStored,
  policy,
  STORE,
} from '../support/retention/stored-store';
import { waitUntil } from '../support/servers';

/** What a sweep deletes nobody reads or builds on; what it does not, nobody waits for. */
let folder: string;
beforeAll(async () => {
  folder = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-claims-'));
});
afterAll(() => fs.rm(folder, { recursive: true, force: true }));
afterEach(() => jest.restoreAllMocks());

let counter = 0;
const directory = () => path.join(folder, `${counter}`, 'shop');
function make(): Repository {
  counter += 1;
  return createRepository('local', { kind: 'local', directory: path.join(folder, `${counter}`), prefix: '' }, 'shop');
}
const openOver = (repository: Repository, keeping = policy) => openStored(folder, repository, keeping);

/** As an activity of one workflow. */
const as = <T>(work: () => Promise<T>) => new MockActivityEnvironment().run<[], T, () => Promise<T>>(work);
const announce = (open: OpenApplication, backups: readonly string[]) =>
  as(() => announceUse(open, STORE, { kind: 'restore', backups }, testContext()));
const require = (open: OpenApplication, backups: readonly string[], waitMilliseconds: number) =>
  as(() => requireNotSwept(open, STORE, backups, open.catalog(STORE), testContext(), waitMilliseconds));

/** As if they had been written so long ago: a local repository tells times by its files. */
async function ageClaims(seconds: number): Promise<void> {
  const claims = path.join(directory(), layout.retention('sweeps', STORE));
  const at = new Date(Date.now() - seconds * 1_000);
  for (const name of await fs.readdir(claims)) await fs.utimes(path.join(claims, name), at, at);
}

test('a run that reads is named until it ends; who begins to read waits for what is deleted just now, and not for more', async () => {
  const repository = make();
  const [first] = await fill(repository, Date.now());
  const open = openOver(repository);
  const stored = open.retentionStore(STORE);
  const backups = [(first as Manifest).backupId];
  await announce(open, backups);
  expect(await stored.uses(Date.now())).toMatchObject([{ kind: 'restore', backups }]);
  await stored.claimSweep('run-1-a');
  await expect(require(open, backups, 0)).rejects.toMatchObject({ type: 'LockHeld' });
  // A sweep that has looked again since is waited for no longer.
  const waiting = new AbortController();
  const looking = (async () => {
    while (!waiting.signal.aborted) await stored.claimSweep('run-1-a');
  })();
  await require(open, backups, 30_000).finally(() => waiting.abort());
  await looking;
  await as(() => withdrawUse(open, STORE, testContext()));
  await expect(require(open, backups, 0)).rejects.toMatchObject({ type: 'LockHeld' });
  await stored.endSweep('run-1-a');
  await require(open, backups, 0);
  expect(await stored.uses(Date.now())).toEqual([]);
  await stored.removeManifest(backups[0] as string, AbortSignal.timeout(60_000));
  await expect(require(open, backups, 0)).rejects.toThrow(/was deleted by retention/);
}, 60_000);

test('of a sweep that died nobody waits for longer than a minute', async () => {
  const repository = make();
  const [first] = await fill(repository, Date.now());
  const open = openOver(repository);
  const backups = [(first as Manifest).backupId];
  await open.retentionStore(STORE).claimSweep('run-1-a');
  await announce(open, backups);
  await ageClaims(55);
  await expect(require(open, backups, 0)).rejects.toMatchObject({ type: 'LockHeld' });
  await ageClaims(60);
  await require(open, backups, 20_000);
}, 60_000);

test('a sweep that stood still until nobody believed its claim deletes nothing of what it had decided', async () => {
  const repository = make();
  const now = Date.now();
  const [victim] = await fill(repository, now);
  const { backupId } = victim as Manifest;
  const open = openOver(repository);
  const clock = Date.now;
  let stoodStill = false;
  const sweeping = faultyRepository(repository, {
    async before(operation, key) {
      // Behind its look at who reads; the claim before it is for the clock, and has gone.
      const claims = await fs.readdir(path.join(directory(), layout.retention('sweeps', STORE))).catch(() => []);
      if (stoodStill || operation !== 'list' || key !== layout.manifests(STORE) || claims.length === 0) return;
      stoodStill = true;
      await ageClaims(62);
      jest.spyOn(Date, 'now').mockImplementation(() => clock() + 62_000);
      await announce(open, [backupId]);
      await require(open, [backupId], 0);
    },
  });
  const swept = applyRetention(openOver(sweeping), now + LATER);
  await expect(swept).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
  expect(stoodStill).toBe(true);
  const left = async () => (await createCatalog(repository).list(STORE)).map((each) => each.backupId);
  expect(await left()).toContain(backupId);
  jest.restoreAllMocks();
  await applyRetention(open, clock(), 'run-2');
  expect(await left()).toContain(backupId);
}, 60_000);

test('a deletion that is not answered is given up while its claim is still believed, and leaves the claim', async () => {
  const stored = openOver(make()).retentionStore(STORE);
  const clock = Date.now;
  const hanging = underClaim(stored, 'run-1', async (claim) => {
    jest.spyOn(Date, 'now').mockImplementation(() => clock() + 39_900);
    expect(claim.isOpen()).toBe(false);
    await claim.deleting(
      (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))),
    );
  });
  await expect(hanging).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
  expect(await stored.sweepsUnawareOf({ useBy: 'nobody' }, 0)).toHaveLength(1);
}, 30_000);

test('a backup that begins while a sweep deletes builds on nothing of that', async () => {
  const repository = make();
  const now = Date.now();
  const newest = (await fill(repository, now)).at(-1) as Manifest;
  // Its log is gone: retention keeps the one before it for ever, and a cluster can still be backed up on top of it.
  const log: string[] = [];
  for await (const { key } of repository.list(layout.log(STORE, lineage))) log.push(key);
  await repository.delete(log.slice(-1));
  const keeping = { ...policy, databaseFull: keep(2), databaseIncremental: keep(2), transactionLogs: keep(1) };
  const stored = openOver(repository).retentionStore(STORE);
  const begun: Promise<PreparedBackup>[] = [];
  const sweeping = faultyRepository(repository, {
    async before(operation, key) {
      if (begun.length > 0 || operation !== 'put' || key !== layout.decision(STORE, newest.backupId)) return;
      const early = prepare(repository);
      early.catch(() => {});
      begun.push(early);
      await waitUntil('the backup to be announced', async () => (await stored.uses(Date.now())).length > 0);
    },
  });
  await applyRetention(openOver(sweeping, keeping), now + LATER);
  await expect(begun[0]).rejects.toMatchObject({ type: 'LockHeld' });
  const { plan } = await prepare(repository);
  expect(plan.parent).not.toBe(newest.backupId);
  const left = (await createCatalog(repository).list(STORE)).map((each) => each.backupId);
  expect(left).toContain(plan.parent);
}, 60_000);

/** Of an engine that continues the newest chain, as PostgreSQL's does. */
function prepare(repository: Repository): Promise<PreparedBackup> {
  const open = openOver(repository);
  const planDump = async ({ backupId, type, site, existing }: DumpRequest) => {
    const parent = existing.at(-1)?.backupId ?? null;
    return { backupId, type, typeReason: null, parent, source: { site, member: 'm1' }, estimatedBytes: null };
  };
  const application = { ...open, engine: () => ({ ...open.engine(STORE), planDump }) };
  const deps = { site: 'primary', hostId: 'h1', open: () => application } as unknown as ActivityDeps;
  const input = { application: 'shop', store: STORE, type: 'incr', site: 'primary' } as const;
  return as(() => createBackupActivities(deps).prepareBackup(input));
}
