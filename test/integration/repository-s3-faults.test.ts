import {
  CompleteMultipartUploadCommand,
  CreateMultipartUploadCommand,
  PutObjectCommand,
  UploadPartCommand,
} from '@aws-sdk/client-s3';
import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { createRepository } from '../../adapters/repository';
import { Secret } from '../../core/secret';
import { testContext } from '../support/call-context';
import { shopRows } from '../support/content';
import { rounds, seededRandom } from '../support/random';
import { startTestS3, type TestS3 } from '../support/s3-repository';

const random = seededRandom('repository-s3-faults');

let s3: TestS3;
let directory: string;

beforeAll(async () => {
  s3 = await startTestS3();
  directory = await fs.mkdtemp(path.join(os.tmpdir(), 'drctl-s3-faults-'));
});
afterAll(() => fs.rm(directory, { recursive: true, force: true }));

interface Proxy {
  readonly endpoint: string;
  /** Every request so far, as `METHOD path?query`. */
  readonly requests: string[];
  /** Decides before a request goes on whether the line is cut instead. */
  cut: (request: string) => boolean;
  /** Decides before a request goes on whether it is answered as one that met another conditional write. */
  conflict: (request: string) => boolean;
  /** Leaves out of every answer what the server says of checksums, as servers do that do not keep them. */
  hideChecksums: boolean;
  close(): Promise<void>;
}

/** A line to the S3 server that can be cut and that counts what goes over it. */
async function startProxy(): Promise<Proxy> {
  const target = new URL(s3.server.endpoint);
  const requests: string[] = [];
  const server = http.createServer((incoming, outgoing) => {
    const line = `${incoming.method} ${incoming.url}`;
    if (proxy.cut(line)) {
      incoming.socket.destroy();
      return;
    }
    requests.push(line);
    if (proxy.conflict(line)) {
      incoming.resume().on('end', () => {
        outgoing.writeHead(409, { 'content-type': 'application/xml' });
        outgoing.end('<Error><Code>ConditionalRequestConflict</Code><Message>another write</Message></Error>');
      });
      return;
    }
    const { hostname: host, port } = target;
    const forward = http.request({
      host,
      port,
      method: incoming.method,
      path: incoming.url,
      headers: incoming.headers,
    });
    forward.on('response', (answer) => {
      const headers = Object.entries(answer.headers).filter(
        ([name]) => !(proxy.hideChecksums && name.startsWith('x-amz-checksum')),
      );
      outgoing.writeHead(answer.statusCode!, Object.fromEntries(headers));
      answer.pipe(outgoing);
    });
    forward.on('error', () => outgoing.destroy());
    incoming.pipe(forward);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.25.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const close = async () => {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  const proxy: Proxy = {
    endpoint: `http://127.25.0.1:${port}`,
    requests,
    cut: () => false,
    conflict: () => false,
    hideChecksums: false,
    close,
  };
  return proxy;
}

const isPart = (request: string) => request.startsWith('PUT') && request.includes('partNumber=');

const PARTS = Math.ceil(60_000_000 / (8 * 2 ** 20));
const cuts = rounds().map(() => 1 + random.integer(PARTS - 1));

test.each(cuts)(
  'an upload cut off after %i parts goes on from there, on another connection and another host',
  async (n) => {
    const proxy = await startProxy();
    try {
      const content = shopRows(60_000_000);
      const sha256 = createHash('sha256').update(content).digest('hex');
      const file = path.join(directory, 'volume');
      await fs.writeFile(file, content);
      const settings = s3.settings(`cut-${random.integer(1e9)}`, { endpoint: proxy.endpoint });
      const through = () => createRepository('cloud', settings, 'shop');
      let parts = 0;
      // From then on nothing gets through, so that the uploader cannot tidy up either: as if it had been killed.
      proxy.cut = (request) => parts > n || (isPart(request) && ++parts > n);
      await expect(through().uploadFile('data/full/orders/vol', file, { sha256 }, testContext())).rejects.toMatchObject(
        {
          type: 'RepositoryUnavailable',
          message: expect.stringContaining(proxy.endpoint),
        },
      );
      const sent = new Set(proxy.requests.filter(isPart)).size;
      expect(sent).toBe(n);

      proxy.cut = () => false;
      proxy.requests.length = 0;
      await through().uploadFile('data/full/orders/vol', file, { sha256 }, testContext());
      const again = proxy.requests.filter(isPart).length;
      expect(again).toBe(PARTS - sent);
      expect((await through().read('data/full/orders/vol')).equals(content)).toBe(true);
      for await (const { key } of through().unfinishedUploads('')) throw new Error(`${key} is unfinished`);

      proxy.requests.length = 0;
      await through().uploadFile('data/full/orders/vol', file, { sha256 }, testContext());
      // The one listing that proves the repository usable, and the look at the object.
      expect(proxy.requests.map((request) => request.split(' ')[0])).toEqual(['GET', 'HEAD']);
    } finally {
      await proxy.close();
    }
  },
);

test.each([1_000_000, 20_000_000])(
  'an upload of %i bytes that met another one at the same moment (409) is begun anew, as S3 wants it; for ever: LockHeld',
  async (size) => {
    const proxy = await startProxy();
    try {
      const content = shopRows(size);
      const sha256 = createHash('sha256').update(content).digest('hex');
      const file = path.join(directory, `conflict-${size}`);
      await fs.writeFile(file, content);
      const settings = s3.settings(`conflict-${size}`, { endpoint: proxy.endpoint });
      const repository = createRepository('cloud', settings, 'shop');
      const isWrite = (request: string) => /^(PUT|POST) \S*\/(\w+)(\?x-id=PutObject|\?uploadId=\S+)$/.test(request);
      let conflicts = 0;
      proxy.conflict = (request) => isWrite(request) && ++conflicts <= 2;
      await repository.uploadFile('again', file, { sha256 }, testContext());
      expect(conflicts).toBe(3);
      expect((await repository.read('again')).equals(content)).toBe(true);
      const begun = proxy.requests.filter((request) => request.includes('?uploads'));
      expect(begun).toHaveLength(size > 8 * 2 ** 20 ? 3 : 0);

      proxy.conflict = isWrite;
      await expect(repository.uploadFile('never', file, { sha256 }, testContext())).rejects.toMatchObject({
        type: 'LockHeld',
        message: expect.stringContaining('at the same moment'),
      });
      expect(await repository.head('never')).toBeNull();
      for await (const { key } of repository.unfinishedUploads('')) throw new Error(`${key} is unfinished`);
    } finally {
      await proxy.close();
    }
  },
);

test('a file that changed between two tries is not mixed with what was sent of it', async () => {
  const proxy = await startProxy();
  try {
    const file = path.join(directory, 'changing');
    const first = shopRows(20_000_000);
    await fs.writeFile(file, first);
    const repository = createRepository('cloud', s3.settings('changed', { endpoint: proxy.endpoint }), 'shop');
    let parts = 0;
    proxy.cut = (request) => parts > 1 || (isPart(request) && ++parts > 1);
    const digest = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');
    await expect(repository.uploadFile('data/x', file, { sha256: digest(first) }, testContext())).rejects.toThrow(
      'did not answer as it should',
    );
    proxy.cut = () => false;
    const second = shopRows(20_000_000);
    await fs.writeFile(file, second);
    await repository.uploadFile('data/x', file, { sha256: digest(second) }, testContext());
    expect((await repository.read('data/x')).equals(second)).toBe(true);
  } finally {
    await proxy.close();
  }
});

const digestOf = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

test('what an annotation claims counts only where the server confirms it', async () => {
  const claims = (bytes: Buffer) => ({ 'drctl-sha256': digestOf(bytes), 'drctl-sha256-parts': 'of-other-bytes-2' });
  const [claimed, stored] = [shopRows(1_000), shopRows(1_001)];
  const Key = (key: string) => ({ Bucket: 'backups', Key: `claims/shop/${key}` });
  const checksum = createHash('sha256').update(stored).digest('base64');
  const { admin } = s3;
  await admin.send(
    new PutObjectCommand({ ...Key('whole'), Body: stored, ChecksumSHA256: checksum, Metadata: claims(claimed) }),
  );
  const object = { ...Key('parts'), Metadata: claims(claimed), ChecksumAlgorithm: 'SHA256' as const };
  const { UploadId } = await admin.send(new CreateMultipartUploadCommand(object));
  const part = { PartNumber: 1, ChecksumSHA256: checksum };
  const { ETag } = await admin.send(new UploadPartCommand({ ...Key('parts'), UploadId, ...part, Body: stored }));
  const MultipartUpload = { Parts: [{ ...part, ETag }] };
  await admin.send(new CompleteMultipartUploadCommand({ ...Key('parts'), UploadId, MultipartUpload }));
  const repository = s3.repository('claims');
  expect(await repository.head('whole')).toMatchObject({ sha256: digestOf(stored), metadata: {} });
  expect(await repository.head('parts')).toMatchObject({ sha256: null, metadata: {} });
});

test.each([1_000_000, 20_000_000])(
  'a server that reports no checksums: the digest of %i bytes is not known, what is stored is compared by its bytes',
  async (size) => {
    const proxy = await startProxy();
    try {
      proxy.hideChecksums = true;
      const repository = createRepository('cloud', s3.settings(`blind-${size}`, { endpoint: proxy.endpoint }), 'shop');
      const file = path.join(directory, `blind-${size}`);
      const [content, other] = [shopRows(size), shopRows(size)];
      await fs.writeFile(file, content);
      const upload = (bytes: Buffer) => repository.uploadFile('x', file, { sha256: digestOf(bytes) }, testContext());
      await upload(content);
      expect(await repository.head('x')).toMatchObject({ sha256: null, sizeBytes: size });
      await upload(content);
      await fs.writeFile(file, other);
      await expect(upload(other)).rejects.toMatchObject({ type: 'LockHeld' });
      expect((await repository.read('x')).equals(content)).toBe(true);
    } finally {
      await proxy.close();
    }
  },
);

test.each([1_000_000, 20_000_000])('of two uploads of other %i bytes at the same moment one stays', async (size) => {
  const upload = async (writer: number) => {
    const content = shopRows(size);
    const file = path.join(directory, `race-${size}-${writer}`);
    await fs.writeFile(file, content);
    await s3.repository(`race-${size}`).uploadFile('x', file, { sha256: digestOf(content) }, testContext());
    return content;
  };
  const results = await Promise.allSettled([upload(1), upload(2)]);
  const [winner] = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  const losers = results.flatMap((result) => (result.status === 'rejected' ? [result.reason.type] : []));
  expect(losers).toEqual(['LockHeld']);
  expect((await s3.repository(`race-${size}`).read('x')).equals(winner!)).toBe(true);
});

test('a body that breaks in the middle is RepositoryUnavailable, not an end', async () => {
  const content = shopRows(5_000_000);
  await s3.repository('body').put('data/x', content);
  const server = http.createServer((incoming, outgoing) => {
    if (incoming.url?.includes('list-type')) {
      outgoing.end('<ListBucketResult></ListBucketResult>');
      return;
    }
    outgoing.writeHead(200, { 'content-length': String(content.length) });
    outgoing.write(content.subarray(0, 1_000_000), () => outgoing.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.25.0.2', resolve));
  const endpoint = `http://127.25.0.2:${(server.address() as AddressInfo).port}`;
  try {
    const body = await createRepository('cloud', s3.settings('body', { endpoint }), 'shop').get('data/x');
    const read = async () => {
      for await (const chunk of body) void chunk;
    };
    await expect(read()).rejects.toMatchObject({ type: 'RepositoryUnavailable' });
  } finally {
    server.closeAllConnections();
    server.close();
  }
});

test.each([
  ['a wrong bucket', () => ({ bucket: 'no-such-bucket' }), 'ConfigInvalid', 'no bucket "no-such-bucket"'],
  ['nobody at the endpoint', () => ({ endpoint: 'http://127.25.0.9:1' }), 'RepositoryUnavailable', '127.25.0.9:1'],
  [
    'a wrong key',
    () => ({ credentials: { accessKeyId: new Secret('wrong-id'), secretAccessKey: new Secret('wrong-secret') } }),
    'AccessDenied',
    'InvalidAccessKeyId',
  ],
  [
    'a wrong secret',
    () => ({ credentials: { accessKeyId: new Secret('drctl-test'), secretAccessKey: new Secret('wrong-secret') } }),
    'AccessDenied',
    'SignatureDoesNotMatch',
  ],
])('%s: each operation gives one clear error without a secret in it', async (_, changes, type, text) => {
  const repository = createRepository('cloud', s3.settings('wrong', changes()), 'shop');
  const file = path.join(directory, 'small');
  await fs.writeFile(file, 'x');
  const sha256 = createHash('sha256').update('x').digest('hex');
  const list = async () => {
    for await (const object of repository.list('')) void object;
  };
  const operations: [string, () => Promise<unknown>][] = [
    ['head', () => repository.head('a')],
    ['check', () => repository.check()],
    ['list', list],
    ['put', () => repository.put('a', Buffer.from('x'))],
    ['put ifAbsent', () => repository.put('a', Buffer.from('x'), { ifAbsent: true })],
    ['uploadFile', () => repository.uploadFile('a', file, { sha256 }, testContext())],
  ];
  for (const [name, operation] of operations) {
    const error = await operation().then(
      () => null,
      (thrown: Error & { type?: string }) => thrown,
    );
    expect({ name, type: error?.type, message: error?.message }).toEqual({
      name,
      type,
      message: expect.stringContaining(text),
    });
    expect(JSON.stringify(error)).not.toContain('wrong-secret');
  }
});
