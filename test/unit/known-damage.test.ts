import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MockActivityEnvironment } from '@temporalio/testing';
import type { ActivityDeps, OpenApplication } from '../../activities/deps';
import { knownDamage } from '../../activities/known-damage';
import { createVerifyActivities, type StoreLook } from '../../activities/verify';
import { createProofs } from '../../adapters/catalog/proofs';
import { createLocalRepository } from '../../adapters/repository/local';
import { createRetentionStore } from '../../adapters/retention/retention-store';
import type { Manifest } from '../../core/catalog';
import { basicTime } from '../../core/clock';
import type { Proof } from '../../core/proofs';
import type { Finding } from '../../core/verification';
import { engineOf } from '../support/engine-harness';
import { makeRandomTree } from '../support/random-tree';
import { seededNumbers } from '../support/random';
import { type StoredStore, storedStore } from '../support/stored-store';

/** What one proof found is known until somebody has found it sound, or it is deleted. */
const STORE = 'assets';
const root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-known-'));
const repository = createLocalRepository({ name: 'local', directory: path.join(root, 'repository'), prefix: 'shop' });
const proofs = createProofs(repository);
let store: StoredStore;
let backups: Manifest[];
beforeAll(async () => {
  fs.mkdirSync(path.join(root, 'tree'));
  makeRandomTree(path.join(root, 'tree'), seededNumbers(7), 20);
  const engine = await engineOf('files', STORE, { sites: { primary: { roots: [path.join(root, 'tree')] } } });
  store = storedStore(engine, repository, root);
  backups = [await store.back('full'), await store.back('full'), await store.back('full')];
}, 60_000);
afterAll(() => fs.rmSync(root, { recursive: true, force: true }));
afterEach(() => fs.rmSync(path.join(repository.location, 'proofs'), { recursive: true, force: true }));

const WINDOW = { from: '2000-01-01T00:00:00.000Z', to: '2100-01-01T00:00:00.000Z', lineage: '1', exact: true };

function open(): OpenApplication {
  const { catalog, verifier } = store.open();
  return {
    engine: () => ({ ...store.engine, windows: async () => [WINDOW] }),
    catalog: () => catalog,
    copies: () => [],
    verifier: () => verifier,
    proofs: () => proofs,
    retentionStore: () => createRetentionStore(repository, STORE, null),
  } as unknown as OpenApplication;
}

const verifying = () => createVerifyActivities({ open } as unknown as ActivityDeps);
const as = <T>(work: () => Promise<T>) => new MockActivityEnvironment().run<[], T, () => Promise<T>>(work);
const input = { application: 'shop', store: STORE };
const look = () => as<StoreLook>(() => verifying().lookAtStore(input));
const read = ({ backupId }: Manifest, { findings, carried = [] }: StoreLook) =>
  as(() => verifying().readStore({ ...input, chain: [backupId], known: findings, again: carried }));
const known = async () => (await knownDamage(open(), STORE, await proofs.list(STORE))).backups;

let minute = 0;
async function keep(findings: readonly Finding[], changes: Partial<Proof> = {}): Promise<string> {
  minute += 1;
  const at = new Date(Date.UTC(2026, 10, 22, 1, minute)).toISOString();
  const { kind = 'full' } = changes;
  const result = findings.length > 0 && kind !== 'restore' ? 'failed' : 'proven';
  const proofId = `${basicTime(at)}-${kind}-${result}-0000000a`;
  const looked = { backups: 3, objects: 9, logPieces: 0, readBytes: 0 };
  const of = { formatVersion: 1, ...input, proofId, kind, result, at, startedAt: at, looked, findings } as const;
  const rest = { requestedBy: 'sam', workflowId: 'w', runId: 'r', seed: null, backups: [], moreFindings: 0, log: [] };
  await proofs.keep({ ...of, ...rest, problem: null, restorable: [], restore: null, ...changes });
  return proofId;
}

/** The bytes of its first volume are other ones, of the same length. */
function damage(manifest: Manifest): { readonly key: string; readonly undo: () => void } {
  const key = manifest.artifacts[0]!.key;
  const file = path.join(repository.location, key);
  const before = fs.readFileSync(file);
  const bytes = Buffer.from(before);
  bytes[10]! ^= 1;
  fs.writeFileSync(file, bytes);
  return { key, undo: () => fs.writeFileSync(file, before) };
}

test('a backup that was found damaged stays so while others are read, until it is read again and is sound', async () => {
  const [first, second] = backups as [Manifest, Manifest];
  const { key, undo } = damage(first);
  try {
    const firstProof = await keep((await read(first, await look())).findings);
    // The next one chooses another backup.
    const seen = await look();
    expect(seen).toMatchObject({ carried: [key], findings: [{ key, backupId: first.backupId, foundBy: firstProof }] });
    expect(await read(second, seen)).toMatchObject({ findings: [], sound: [] });
    await keep(seen.findings);
    expect(await known()).toMatchObject([{ backupId: first.backupId, problem: expect.stringContaining(firstProof) }]);
    // A restore that does without it is proven all the same.
    await keep((await look()).findings, { kind: 'restore' });
    expect(await known()).toHaveLength(1);
    // One that did not come to its look takes nothing away.
    await keep([], { looked: { backups: 0, objects: 0, logPieces: 0, readBytes: 0 }, problem: 'S3 was away' });
    expect(await known()).toHaveLength(1);
  } finally {
    undo();
  }
  const mended = await look();
  expect(mended.carried).toEqual([key]);
  expect(await read(second, mended)).toMatchObject({ findings: [], sound: [key] });
  await keep([]);
  expect(await known()).toEqual([]);
  expect(await look()).toMatchObject({ findings: [], carried: [] });
}, 60_000);

test('what is found while another verification runs is not lost to it', async () => {
  const [first] = backups as [Manifest];
  const { key, undo } = damage(first);
  try {
    const { findings } = await read(first, await look());
    await keep(findings);
    const began = new Date(Date.UTC(2026, 10, 22, 1, minute - 1)).toISOString();
    await keep([], { startedAt: began });
    expect((await look()).carried).toEqual([key]);
    expect(await known()).toMatchObject([{ backupId: first.backupId }]);
  } finally {
    undo();
  }
}, 60_000);

test('what retention deleted is damaged no more; what somebody else removed is', async () => {
  const third = backups[2]!;
  const { findings } = await (async () => {
    const { undo } = damage(third);
    const seen = await read(third, await look());
    undo();
    return seen;
  })();
  await keep(findings);
  const manifest = path.join(repository.location, `catalog/${STORE}/${third.backupId}.json`);
  const aside = `${root}/aside`;
  fs.renameSync(manifest, aside);
  expect(await known()).toHaveLength(1);
  fs.renameSync(aside, manifest);
  await open().retentionStore(STORE).removeManifest(third.backupId, AbortSignal.timeout(60_000));
  expect(await known()).toEqual([]);
  expect((await look()).carried).toEqual([]);
}, 60_000);
