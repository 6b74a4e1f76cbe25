import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { createCatalog } from '../../adapters/catalog/catalog';
import { decide, decided } from '../../adapters/catalog/decision';
import { createEpochs } from '../../adapters/catalog/epochs';
import { createRepository } from '../../adapters/repository';
import type { EpochRecord } from '../../core/epoch';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { faultyRepository, networkError } from '../support/faulty-repository';
import { manifestOf } from '../support/manifests';
import { rounds, seededRandom } from '../support/random';

const random = seededRandom('catalog');

const ids = ['20261120T020000Z-full-00000001', '20261120T060000Z-incr-00000002', '20261121T020000Z-full-00000003'];

let directory: string;
let repository: Repository;
let reads: string[];

beforeEach(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-catalog-'));
  reads = [];
  const before = (operation: string, key: string) => void (operation === 'read' && reads.push(key));
  repository = faultyRepository(createRepository('local', { kind: 'local', directory, prefix: '' }, 'shop'), {
    before,
  });
});
afterEach(() => fs.rm(directory, { recursive: true, force: true }));

describe('catalogue', () => {
  test('lists what was committed, oldest first, and nothing else that lies beside it', async () => {
    const catalog = createCatalog(repository);
    for (const id of ids.toReversed()) await catalog.commit(manifestOf(id, []));
    await repository.put(layout.early('orders', ids[0]!, 'attempt-1/listing.json'), Buffer.from('{}'));
    await repository.put(layout.history('orders', '00000002.history'), Buffer.from('1'));
    await repository.put('catalog/orders/notes.json', Buffer.from('not ours'));
    await repository.put('catalog/empty/notes.json', Buffer.from('not ours'));
    expect((await catalog.list('orders')).map((manifest) => manifest.backupId)).toEqual(ids);
    expect(await catalog.get('orders', ids[1]!)).toEqual(manifestOf(ids[1]!, []));
    expect(await catalog.stores()).toEqual(['orders']);
    expect(await catalog.list('nothing')).toEqual([]);
  });

  test('reads each manifest once', async () => {
    const catalog = createCatalog(repository);
    for (const id of ids) await catalog.commit(manifestOf(id, []));
    for (let time = 0; time < 3; time += 1) await catalog.list('orders');
    expect(reads.toSorted()).toEqual(ids.map((id) => layout.manifest('orders', id)));
  });

  test('a backup that is not there is named with what is', async () => {
    const catalog = createCatalog(repository);
    await catalog.commit(manifestOf(ids[0]!, []));
    for (const id of [ids[1]!, 'nonsense', '../../etc']) {
      await expect(catalog.get('orders', id)).rejects.toMatchObject({
        type: 'NotFound',
        message: expect.stringContaining(ids[0]!),
      });
    }
  });

  test('a commit may be repeated by another run; another backup under the id is refused', async () => {
    const catalog = createCatalog(repository);
    const first = await catalog.commit(manifestOf(ids[0]!, []));
    const again = await createCatalog(repository).commit(
      manifestOf(ids[0]!, [], { runId: 'run-2', committedAt: '2026-11-22T14:00:00.000Z' }),
    );
    expect(again).toEqual(first);
    const other = catalog.commit(manifestOf(ids[0]!, [], { identity: 'another server' }));
    await expect(other).rejects.toMatchObject({ type: 'LockHeld' });
    expect((await catalog.list('orders'))[0]).toEqual(first);
  });

  test.each(rounds())('round %i: of several commits of different backups under one id one wins', async () => {
    const commit = (attempt: number) => createCatalog(repository).commit(manifestOf(ids[0]!, [], { attempt }));
    const results = await Promise.allSettled([1, 2, 3, 4].map(commit));
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
  });

  test.each([
    ['no JSON', 'not json', 'BackupCorrupt', 'not JSON'],
    ['null', 'null', 'BackupCorrupt', 'expected object'],
    [
      'a field missing',
      JSON.stringify({ ...manifestOf(ids[0]!, []), identity: undefined }),
      'BackupCorrupt',
      'identity',
    ],
    ['a field too many', JSON.stringify({ ...manifestOf(ids[0]!, []), extra: 1 }), 'BackupCorrupt', 'extra'],
    ['a wrong size', JSON.stringify({ ...manifestOf(ids[0]!, []), attempt: -1 }), 'BackupCorrupt', 'attempt'],
    ['another backup', JSON.stringify(manifestOf(ids[1]!, [])), 'BackupCorrupt', ids[1]!],
    [
      'a later format',
      JSON.stringify({ ...manifestOf(ids[0]!, []), formatVersion: 2 }),
      'ConfigInvalid',
      'format version 2',
    ],
  ])('a manifest with %s is refused by its key', async (_, bytes, type, why) => {
    const key = layout.manifest('orders', ids[0]!);
    await repository.put(key, Buffer.from(bytes));
    const got = createCatalog(repository).get('orders', ids[0]!);
    await expect(got).rejects.toMatchObject({ type, message: expect.stringContaining(key) });
    await expect(got).rejects.toThrow(why);
    // The others stay usable, and this one is not passed over in silence.
    const catalog = createCatalog(repository);
    const readable = await catalog.commit(manifestOf(ids[2]!, []));
    expect(await catalog.list('orders')).toEqual([readable]);
    const damage = { store: 'orders', backupId: ids[0], problem: expect.stringContaining(why) };
    expect(await catalog.damaged('orders')).toEqual([damage]);
    expect((await catalog.damaged('orders'))[0]!.problem).toContain(key);
  });

  test('a manifest that was written before they had a digest is read as it is', async () => {
    const key = layout.manifest('orders', ids[0]!);
    await repository.put(key, Buffer.from(`${JSON.stringify(manifestOf(ids[0]!, []), null, 2)}\n`));
    const catalog = createCatalog(repository);
    expect(await catalog.get('orders', ids[0]!)).toEqual(manifestOf(ids[0]!, []));
    expect(await catalog.commit(manifestOf(ids[0]!, []))).toEqual(manifestOf(ids[0]!, []));
  });

  test('a repository that does not answer is no damage', async () => {
    await createCatalog(repository).commit(manifestOf(ids[0]!, []));
    const before = (operation: string, key: string) => {
      if (operation === 'read') throw networkError(key);
    };
    const catalog = createCatalog(faultyRepository(repository, { before }));
    // One after the other: what fails while the other is awaited fails the test.
    for (const listed of [() => catalog.list('orders'), () => catalog.damaged('orders')])
      await expect(listed()).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
  });
});

const record = (epoch: number, runId = 'run-1'): EpochRecord => ({
  epoch,
  activeSite: epoch % 2 ? 'dr' : 'primary',
  previousSite: 'primary',
  takenAt: '2026-11-22T13:05:03.000Z',
  reason: 'the primary site is gone',
  workflowId: 'role-change:shop',
  runId,
  approvedBy: 'dana',
});

describe('the documents that are trusted', () => {
  const id = ids[0]!;

  test.each([
    [
      'a manifest',
      layout.manifest('orders', id),
      () => createCatalog(repository).commit(manifestOf(id, [])),
      (from: Repository) => createCatalog(from).get('orders', id),
    ],
    [
      'the decision of a backup',
      layout.decision('orders', id),
      () => decide(repository, 'orders', id, { attempt: 1, manifest: manifestOf(id, []) }),
      (from: Repository) => decided(from, 'orders', id),
    ],
    [
      'an epoch',
      layout.epoch(1),
      () => createEpochs(repository).take(record(1)),
      (from: Repository) => createEpochs(from).current(),
    ],
  ])('%s: any byte of it that changes is found, and it is named', async (_, key, write, read) => {
    await write();
    const bytes = await repository.read(key);
    const damaged = Buffer.from(bytes);
    const damaging: Repository = { ...repository, read: async () => damaged };
    for (const at of bytes.keys()) {
      bytes.copy(damaged);
      damaged[at] = damaged[at]! ^ (1 << random.integer(8));
      const error = await read(damaging).then(
        (found) => ({ found }),
        (thrown: Error & { type?: string }) => ({ type: thrown.type, isNamed: thrown.message.includes(key) }),
      );
      expect({ at, byte: damaged[at], ...error }).toEqual({
        at,
        byte: damaged[at],
        type: 'BackupCorrupt',
        isNamed: true,
      });
    }

    // By hand, as docs/restore-by-hand.md has it.
    const file = path.join(repository.location, key);
    const [digest] = execFileSync('sh', ['-c', 'head -n -2 "$0" | sha256sum', file]).toString().split(' ');
    expect(JSON.parse(bytes.toString())).toMatchObject({ sha256: digest });
  });
});

describe('epochs', () => {
  test('there is none at first; then each follows the one before', async () => {
    const epochs = createEpochs(repository);
    expect(await epochs.current()).toBeNull();
    for (let epoch = 1; epoch <= 11; epoch += 1) await epochs.take(record(epoch, `run-${epoch}`));
    expect(await createEpochs(repository).current()).toEqual(record(11, 'run-11'));
    expect((await epochs.history()).map((each) => each.epoch)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  });

  test('the same run gets the same epoch again, as it was first; another run is told who has it', async () => {
    const epochs = createEpochs(repository);
    await epochs.take(record(1));
    expect(await epochs.take({ ...record(1), takenAt: '2026-11-22T14:00:00.000Z' })).toEqual(record(1));
    await expect(epochs.take(record(1, 'run-2'))).rejects.toMatchObject({
      type: 'StaleEpoch',
      message: expect.stringContaining('run-1'),
    });
    await epochs.take(record(2, 'run-2'));
    await expect(epochs.take(record(1))).rejects.toMatchObject({ type: 'StaleEpoch' });
    await expect(epochs.take(record(4))).rejects.toMatchObject({ type: 'UsageInvalid' });
  });

  test('of eight that take one epoch at the same moment exactly one gets it', async () => {
    const takes = Array.from({ length: 8 }, (_, run) => createEpochs(repository).take(record(1, `run-${run}`)));
    const results = await Promise.allSettled(takes);
    expect(results.filter((result) => result.status === 'fulfilled')).toHaveLength(1);
    const losers = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.type] : []));
    expect(losers).toEqual(Array.from({ length: 7 }, () => 'StaleEpoch'));
  });

  test('an answer that was lost does not lose the epoch', async () => {
    const losing = faultyRepository(repository, {});
    const put = losing.put.bind(losing);
    const flaky: Repository = {
      ...losing,
      put: async (...call) => (await put(...call), Promise.reject(networkError(call[0]))),
    };
    await expect(createEpochs(flaky).take(record(1))).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
    expect(await createEpochs(repository).take(record(1))).toEqual(record(1));
  });
});
