import { GetObjectCommand, HeadObjectCommand, ListObjectsV2Command, PutObjectCommand } from '@aws-sdk/client-s3';
import { randomBytes } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createS3Mirror } from '../../adapters/mirror/s3-mirror';
import { hasCode } from '../../core/errors';
import type { AssetMirror } from '../../core/mirror';
import { testContext } from '../support/engine-harness';
import { startTestS3, type TestS3 } from '../support/s3-repository';

let s3: TestS3;
let from: string;
let mirror: AssetMirror;
let round = 0;
beforeAll(async () => {
  s3 = await startTestS3();
}, 60_000);
afterAll(async () => s3?.server.stop());

beforeEach(() => {
  from = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-mirror-'));
  const settings = s3.settings(`cdn-${++round}`);
  mirror = createS3Mirror({ name: 'cdn', settings, prefix: 'assets/', from, maxDeleteShare: 0.5 });
  put('css/site.css', 'body{}');
  put('js/app.js', 'run()');
  put('img/über logo.svg', '<svg/>');
  put('img/large.png', randomBytes(6 * 1024 * 1024));
  put('empty.txt', '');
});
afterEach(() => fs.rmSync(from, { recursive: true, force: true }));

function put(name: string, content: string | Buffer): void {
  fs.mkdirSync(path.dirname(path.join(from, name)), { recursive: true });
  fs.writeFileSync(path.join(from, name), content);
}

const request = { site: 'primary', dryRun: false, maxDeleteShare: null } as const;
const sync = (changes: Partial<{ dryRun: boolean; maxDeleteShare: number }> = {}) =>
  mirror.sync({ ...request, ...changes }, testContext());

/** Every object of the mirror with its bytes. */
async function stored(): Promise<Record<string, string>> {
  const Prefix = `cdn-${round}/`;
  const { Contents = [] } = await s3.admin.send(new ListObjectsV2Command({ Bucket: 'backups', Prefix }));
  const found: Record<string, string> = {};
  for (const { Key } of Contents) {
    const { Body } = await s3.admin.send(new GetObjectCommand({ Bucket: 'backups', Key }));
    found[(Key as string).slice(Prefix.length)] = (await Body?.transformToString('base64')) ?? '';
  }
  return found;
}

function local(): Record<string, string> {
  const names = fs.readdirSync(from, { recursive: true, withFileTypes: true }).filter((each) => each.isFile());
  const files = names.map((each) => path.join(each.parentPath, each.name));
  return Object.fromEntries(
    files.map((file) => [`assets/${path.relative(from, file)}`, fs.readFileSync(file).toString('base64')]),
  );
}

test('the copy is exact, with content types, and a second sync has nothing to do', async () => {
  expect(await sync()).toMatchObject({ uploaded: 5, unchanged: 0, deleted: 0 });
  expect(await stored()).toEqual(local());
  const Key = `cdn-${round}/assets/css/site.css`;
  const head = await s3.admin.send(new HeadObjectCommand({ Bucket: 'backups', Key }));
  expect(head.ContentType).toBe('text/css; charset=utf-8');
  fs.utimesSync(path.join(from, 'js/app.js'), 1, 1);
  expect(await sync()).toMatchObject({ uploaded: 0, uploadedBytes: 0, unchanged: 5, deleted: 0 });
});

test('what changed is stored with the type it had, what is gone is deleted, equal sizes included', async () => {
  await sync();
  const Key = `cdn-${round}/assets/js/app.js`;
  const own = { ContentType: 'application/x-own', CacheControl: 'max-age=60' };
  await s3.admin.send(new PutObjectCommand({ Bucket: 'backups', Key, Body: 'run()', ...own }));
  put('js/app.js', 'RUN()');
  fs.rmSync(path.join(from, 'css'), { recursive: true });
  const dry = await sync({ dryRun: true });
  expect(dry).toMatchObject({ uploaded: 1, uploadedNames: ['js/app.js'], deleted: 1, deletedNames: ['css/site.css'] });
  expect(Object.keys(await stored())).toHaveLength(5);
  expect(await sync()).toMatchObject({ uploaded: 1, unchanged: 3, deleted: 1 });
  expect(await stored()).toEqual(local());
  expect(await s3.admin.send(new HeadObjectCommand({ Bucket: 'backups', Key }))).toMatchObject(own);
});

test('a sync that would delete too much deletes nothing, until it is allowed', async () => {
  await sync();
  for (const each of ['css', 'js', 'img']) fs.rmSync(path.join(from, each), { recursive: true });
  const refused = await sync().catch((error: unknown) => error);
  expect(hasCode(refused, 'DeletionRefused')).toBe(true);
  expect((refused as Error).message).toContain('4 of 5');
  expect(Object.keys(await stored())).toHaveLength(5);
  expect(await sync({ maxDeleteShare: 1 })).toMatchObject({ deleted: 4 });
  expect(await stored()).toEqual(local());
});

test('an empty or missing directory never empties the mirror', async () => {
  await sync();
  fs.rmSync(from, { recursive: true });
  expect(hasCode(await sync({ maxDeleteShare: 1 }).catch((error: unknown) => error), 'TargetUnreachable')).toBe(true);
  fs.mkdirSync(from);
  expect(hasCode(await sync({ maxDeleteShare: 1 }).catch((error: unknown) => error), 'TargetUnreachable')).toBe(true);
  expect(Object.keys(await stored())).toHaveLength(5);
});

test('links are named and not followed; a bucket that is not there is one clear error', async () => {
  fs.symlinkSync('/etc/passwd', path.join(from, 'passwd'));
  expect((await sync()).notes).toEqual(['passwd is no regular file']);
  expect(Object.keys(await stored())).not.toContain('assets/passwd');
  const settings = s3.settings('x', { bucket: 'not-there' });
  const broken = createS3Mirror({ name: 'cdn', settings, prefix: 'assets/', from, maxDeleteShare: 0.5 });
  expect(hasCode(await broken.sync(request, testContext()).catch((error: unknown) => error), 'ConfigInvalid')).toBe(
    true,
  );
});
