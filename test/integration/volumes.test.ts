import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Artifact, DumpResult } from '../../core/catalog';
import { createSpool, type Spool } from '../../adapters/volumes/spool';
import { SPOOL_INDEX, type SpoolAttempt } from '../../adapters/volumes/spool-attempt';
import type { SpoolEvent } from '../../adapters/volumes/spool-follower';
import { sha256, shopRows } from '../support/content';
import { dumpResult } from '../support/manifests';

const BACKUP = '20261122T130503Z-full-0123abcd';

let directory: string;
let spool: Spool;

beforeEach(async () => {
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-spool-'));
  spool = createSpool({ directory, application: 'shop', codec: { codec: 'zstd', level: 3 }, reserveBytes: 0 });
});
afterEach(() => fs.rm(directory, { recursive: true, force: true }));

function begin(atLeast = 1): Promise<SpoolAttempt> {
  return spool.begin({ store: 'orders', backupId: BACKUP, atLeast, leastBytes: 0, targetVolumeBytes: 2 ** 20 });
}

function write(attempt: SpoolAttempt, name: string, content: Buffer): Promise<void> {
  return pipeline(Readable.from([content]), attempt.volume(name));
}

/** Follows until `done`, a failure, or `count` events. */
async function follow(count = Infinity, signal = AbortSignal.timeout(20_000)): Promise<SpoolEvent[]> {
  const events: SpoolEvent[] = [];
  for await (const event of spool.follow('orders', BACKUP, signal)) {
    events.push(event);
    if (event.kind === 'failed' || events.length >= count) break;
  }
  return events;
}

const result: DumpResult = dumpResult();

test('a follower that began first gets every volume as it is finished, with true digests, and then the result', async () => {
  const events = follow();
  const attempt = await begin();
  const contents = {
    'vol-00001.tar': shopRows(3_000_000),
    'vol-00002.tar': shopRows(10),
    'empty.tar': Buffer.alloc(0),
  };
  await Promise.all(Object.entries(contents).map(([name, content]) => write(attempt, name, content)));
  await attempt.early('backup_manifest', Buffer.from('{}'));
  await attempt.finish(result);
  const seen = await events;
  expect(seen[0]).toEqual({ kind: 'attempt', attempt: 1 });
  expect(seen.at(-1)).toEqual({ kind: 'done', dump: result });
  const volumes = seen.flatMap((event) => (event.kind === 'volume' ? [event.volume] : []));
  expect(volumes.map((volume) => volume.name).toSorted()).toEqual(Object.keys(contents).toSorted());
  for (const volume of volumes) {
    const content = contents[volume.name as keyof typeof contents];
    const stored = await fs.readFile(volume.path);
    expect(volume).toMatchObject({
      sizeBytes: stored.length,
      sha256: sha256(stored),
      codec: 'zstd',
    } satisfies Partial<Artifact>);
    expect(volume).toMatchObject({ contentBytes: content.length, contentSha256: sha256(content) });
  }
  expect(seen.flatMap((event) => (event.kind === 'early' ? [event.early.name] : []))).toEqual(['backup_manifest']);
});

test('a volume that was destroyed leaves nothing and is never announced', async () => {
  const attempt = await begin();
  const volume = attempt.volume('vol-00001.tar');
  volume.write(shopRows(9_000_000));
  volume.on('error', () => {});
  const closed = new Promise((resolve) => volume.once('close', resolve));
  volume.destroy(new Error('the server went away'));
  await closed;
  await attempt.finish(result);
  expect((await follow()).map((event) => event.kind)).toEqual(['attempt', 'done']);
  expect((await fs.readdir(attempt.directory)).filter((name) => name.startsWith('vol-'))).toEqual([]);
});

test('a newer attempt makes the older one void, whether it failed or just stopped', async () => {
  const first = await begin();
  await write(first, 'vol-00001.tar', shopRows(100));
  await first.fail(new Error('connection lost'));
  expect((await follow()).at(-1)).toEqual({ kind: 'failed', reason: 'connection lost' });

  const controller = new AbortController();
  const seen: SpoolEvent[] = [];
  const following = (async () => {
    for await (const event of spool.follow('orders', BACKUP, controller.signal)) seen.push(event);
  })();
  const second = await begin();
  await write(second, 'vol-00001.tar', shopRows(100));
  const third = await begin(7);
  await write(third, 'vol-00009.tar', shopRows(100));
  await third.finish(result);
  await following;
  const last = seen.slice(seen.findIndex((event) => event.kind === 'attempt' && event.attempt === 7));
  expect(last.map((event) => event.kind)).toEqual(['attempt', 'volume', 'done']);
  expect(await fs.readdir(path.dirname(third.directory))).toEqual(['attempt-7']);
});

test('a full disk is told beforehand where it can be, with the path', async () => {
  const request = { store: 'orders', backupId: BACKUP, atLeast: 1, targetVolumeBytes: 2 ** 20 };
  await expect(spool.begin({ ...request, leastBytes: Number.MAX_SAFE_INTEGER })).rejects.toMatchObject({
    type: 'DiskFull',
    message: expect.stringContaining(directory),
  });
});

test('names that leave the folder, come twice or are hidden are refused', async () => {
  const attempt = await begin();
  for (const name of ['../x', 'a/b', '', '.hidden', 'a\nb'])
    expect(() => attempt.volume(name)).toThrow('cannot name a volume');
  await write(attempt, 'vol-00001.tar', Buffer.from('x'));
  expect(() => attempt.volume('vol-00001.tar')).toThrow('twice');
});

test('an open volume keeps a dump from being finished', async () => {
  const attempt = await begin();
  const volume = attempt.volume('vol-00001.tar');
  await expect(attempt.finish(result)).rejects.toMatchObject({ type: 'BackupIncomplete' });
  volume.destroy();
});

test('the spool lists what it holds and removes it', async () => {
  const attempt = await begin();
  await write(attempt, 'vol-00001.tar', shopRows(100_000));
  const [listed] = await spool.list();
  expect(listed).toMatchObject({ store: 'orders', backupId: BACKUP });
  expect(listed!.sizeBytes).toBeGreaterThan(10_000);
  await spool.remove('orders', BACKUP);
  await spool.remove('orders', BACKUP);
  expect(await spool.list()).toEqual([]);
});

test('a look at an index reads what is new in it, however long it is', async () => {
  const attempt = await begin();
  const index = path.join(attempt.directory, SPOOL_INDEX);
  const early = { name: 'x'.repeat(1_000), sizeBytes: 1, sha256: '00' };
  const line = `${JSON.stringify({ kind: 'early', early, file: 'x' })}\n`;
  const lines = 5_000;
  await fs.appendFile(index, line.repeat(lines));
  const bytesRead = async () => Number(/rchar: (\d+)/.exec(await fs.readFile('/proc/self/io', 'utf8'))?.[1]);
  const events = spool.follow('orders', BACKUP, AbortSignal.timeout(20_000))[Symbol.asyncIterator]();
  for (let seen = 0; seen < 1 + lines; seen += 1) await events.next();
  const before = await bytesRead();
  for (let look = 0; look < 3; look += 1) {
    const next = events.next();
    await fs.appendFile(index, line);
    expect((await next).value).toMatchObject({ kind: 'early' });
  }
  expect((await bytesRead()) - before).toBeLessThan(lines * line.length);
  await events.return?.(undefined);
});
