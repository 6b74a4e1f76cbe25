import { execFile } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { RESTORE_COMMAND } from '../../adapters/engines/postgresql/restore-command';
import { endFeed, type FetchSegment, WalFeed } from '../../adapters/engines/postgresql/wal-feed';
import { failure } from '../../core/errors';
import { testContext } from '../support/call-context';

const SEGMENT_BYTES = 2 ** 27; // so that the window holds eight
const owner = { uid: process.getuid!(), gid: process.getgid!() };
const nameOf = (index: number) => `0000000100000000${index.toString(16).toUpperCase().padStart(8, '0')}`;
const contentOf = (name: string) => `content of ${name}`;

let root: string;
let feeds: WalFeed[] = [];
const wal = () => path.join(root, 'wal');
beforeEach(() => {
  root = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-wal-feed-'));
  fs.mkdirSync(path.join(root, 'data'));
  feeds = [];
});
afterEach(async () => {
  await Promise.all(feeds.map((feed) => feed.stop()));
  fs.rmSync(root, { recursive: true, force: true });
});

const store: FetchSegment = async ({ name }, file) => {
  fs.writeFileSync(`${file}.partial`, contentOf(name));
  fs.renameSync(`${file}.partial`, file);
};

async function feedOf(segments: number, fetch: FetchSegment = store, waits = false): Promise<WalFeed> {
  const histories = new Map([['00000002.history', Buffer.from('1\t0/3000000\treason\n')]]);
  const plan = {
    segments: Array.from({ length: segments }, (_, index) => ({ name: nameOf(index), pieces: [] })),
    histories,
  };
  const feed = new WalFeed(wal(), SEGMENT_BYTES, plan, fetch, testContext());
  feeds.push(feed);
  await feed.start(owner, { waits });
  return feed;
}

/** Runs the command as the server does: by the shell, in the data directory. The exit status, and what came. */
async function ask(name: string): Promise<{ status: number; content: string | null }> {
  const into = path.join(root, 'data', 'RECOVERYXLOG');
  fs.rmSync(into, { force: true });
  const command = RESTORE_COMMAND.replaceAll('%f', name).replaceAll('%p', 'RECOVERYXLOG');
  const status = await new Promise<number>((resolve) => {
    const child = execFile('sh', ['-c', command], { cwd: path.join(root, 'data') });
    child.once('close', (code) => resolve(code ?? -1));
  });
  return { status, content: fs.existsSync(into) ? fs.readFileSync(into, 'utf8') : null };
}
const given = (name: string) => ({ status: 0, content: contentOf(name) });
const lying = () =>
  fs
    .readdirSync(wal())
    .filter((name) => /^[0-9A-F]{24}$/.test(name))
    .toSorted();

async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = Date.now() + 10_000; !holds(); await sleep(5)) {
    if (Date.now() > deadline) throw new Error(`not within 10 s: ${what}`);
  }
}

test('segments come in order, a bounded number ahead; history files may be asked for again', async () => {
  const feed = await feedOf(30);
  for (let index = 0; index < 30; index += 1) {
    expect(await ask(nameOf(index))).toEqual(given(nameOf(index)));
    expect(lying().length).toBeLessThanOrEqual(8);
  }
  await until('everything taken', () => feed.progress().doneItems === 30);
  expect(lying()).toEqual([]);
  for (let time = 0; time < 2; time += 1) {
    expect(await ask('00000002.history')).toEqual({ status: 0, content: '1\t0/3000000\treason\n' });
  }
});

test('what is not archived is absent at once; what cannot be known is not', async () => {
  await feedOf(2);
  expect((await ask(nameOf(2))).status).toBe(1);
  expect((await ask('00000003.history')).status).toBe(1);
  fs.rmSync(path.join(wal(), 'expected'));
  expect((await ask(nameOf(2))).status).toBeGreaterThan(125);
});

test('the server waits for a segment that is slow, and a later worker brings what an earlier one did not', async () => {
  let fetched = 0;
  const stuck = await feedOf(5, async (segment, file, ctx) => {
    if ((fetched += 1) <= 2) return store(segment, file, ctx);
    await new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(new Error('worker killed'))));
  });
  expect(await ask(nameOf(0))).toEqual(given(nameOf(0)));
  expect(await ask(nameOf(1))).toEqual(given(nameOf(1)));
  let answered = false;
  const waiting = ask(nameOf(2)).finally(() => (answered = true));
  await until('the server saying what it waits for', () => fs.existsSync(path.join(wal(), 'wanted')));
  await stuck.stop();
  await sleep(200);
  expect(answered).toBe(false);
  await feedOf(5, store, true);
  expect(await waiting).toEqual(given(nameOf(2)));
  expect(await ask(nameOf(3))).toEqual(given(nameOf(3)));
});

test('a server that was started again gets the segments that it had taken before', async () => {
  await feedOf(40);
  for (let index = 0; index < 25; index += 1) await ask(nameOf(index));
  for (let index = 5; index < 40; index += 1) expect(await ask(nameOf(index))).toEqual(given(nameOf(index)));
});

test('a segment that cannot be fetched ends the feed with the reason', async () => {
  const feed = await feedOf(3, async (segment, file, ctx) => {
    if (segment.name === nameOf(1)) throw failure('BackupCorrupt', `${segment.name} is damaged`);
    return store(segment, file, ctx);
  });
  expect(await ask(nameOf(0))).toEqual(given(nameOf(0)));
  await until('the failure', () => feed.isHopeless());
  expect(() => feed.check()).toThrow(/is damaged/);
});

test('after the target the server is referred to what it has', async () => {
  await feedOf(3);
  await ask(nameOf(0));
  await endFeed(wal(), owner);
  expect((await ask(nameOf(0))).status).toBe(1);
});
