import { once } from 'node:events';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { finished } from 'node:stream/promises';
import { createRepository } from '../adapters/repository';
import { createCatalog } from '../adapters/catalog/catalog';
import { createDataKeys } from '../adapters/encryption/data-keys';
import type { ObjectCipher } from '../adapters/encryption/encrypted-object';
import { createObjectCipher } from '../adapters/encryption/object-cipher';
import { createSpool } from '../adapters/volumes/spool';
import { createTransfer } from '../adapters/volumes/transfer';
import type { CallContext } from '../core/call';
import type { DumpResult } from '../core/catalog';
import type { Repository } from '../core/repository';
import { Secret } from '../core/secret';
import { accessTo } from '../lab/demo/access';
import type { Bench } from './bench';
import { figure } from './figure';
import { type BenchLab, withLab } from './lab';
import { pipeline } from './pipeline';
import { labUploadPlace, uploadStage } from './upload-stage';

const CONTENT_BYTES = 512 * 2 ** 20;
const VOLUME_BYTES = 128 * 2 ** 20;
const CODEC = { codec: 'zstd', level: 3 } as const;
const PEER = 'zstd -T2 -3 | one upload';

/** An engine's answer when all it dumped is a file. */
const NOTHING_SPECIAL: DumpResult = {
  start: null,
  stop: null,
  startedAt: new Date(0).toISOString(),
  consistentAt: new Date(0).toISOString(),
  identity: 'bench',
  lineage: null,
  serverVersion: 'none',
  toolVersions: {},
  source: { site: 'primary', member: 'bench' },
  warnings: [],
  detail: {},
};

export const volumes: Bench = {
  summary: 'compressing, spooling and uploading 512 MiB of rows, against zstd -T2 | upload',
  async run({ rounds, say }) {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-bench-'));
    try {
      return await withLab(say, async (bench) => {
        const content = path.join(folder, 'content');
        await writeContent(content);
        const [ours, theirs, oursMib, theirsMib]: [number[], number[], number[], number[]] = [[], [], [], []];
        const encrypted: number[] = [];
        for (let round = 1; round <= rounds; round += 1) {
          const mine = await throughVolumes(bench, content, path.join(folder, 'spool'), false);
          ours.push(CONTENT_BYTES / 2 ** 20 / mine.seconds);
          const sealed = await throughVolumes(bench, content, path.join(folder, 'spool'), true);
          encrypted.push(CONTENT_BYTES / 2 ** 20 / sealed.seconds);
          oursMib.push(mine.storedBytes / 2 ** 20);
          const peer = await throughPipe(bench, content);
          theirs.push(CONTENT_BYTES / 2 ** 20 / peer.seconds);
          theirsMib.push(peer.storedBytes / 2 ** 20);
          say(
            `  round ${round}: ours ${ours.at(-1)?.toFixed(0)} MiB/s, encrypted ${encrypted.at(-1)?.toFixed(0)} MiB/s, the pipeline ${theirs.at(-1)?.toFixed(0)} MiB/s`,
          );
        }
        return [
          figure({
            name: 'content compressed, spooled and uploaded',
            unit: 'MiB/s',
            values: ours,
            peer: { name: PEER, values: theirs },
            aim: { ratioAtLeast: 0.85 },
          }),
          figure({
            name: 'the same, encrypted',
            unit: 'MiB/s',
            values: encrypted,
            peer: { name: 'ours, not encrypted', values: ours },
            // At most 15 % more time.
            aim: { ratioAtLeast: 1 / 1.15 },
          }),
          figure({
            name: 'stored bytes of 512 MiB',
            unit: 'MiB',
            values: oursMib,
            peer: { name: PEER, values: theirsMib },
            aim: { ratioAtMost: 1.05 },
          }),
        ];
      });
    } finally {
      fs.rmSync(folder, { recursive: true, force: true });
    }
  },
};

/** The path of every engine's bytes: both digests, frames, a spool that is flushed to disk, parts with SHA-256. */
async function throughVolumes(
  { lab }: BenchLab,
  content: string,
  directory: string,
  encrypted: boolean,
): Promise<Moved> {
  const { secrets } = accessTo(lab);
  const key = (name: string) => new Secret(secrets.password(name));
  const credentials = { accessKeyId: key('s3-access-key-id'), secretAccessKey: key('s3-secret-access-key') };
  const { endpoint, region, buckets } = lab.s3;
  const bucket = buckets[0] ?? '';
  const settings = { kind: 's3', bucket, region, endpoint, prefix: 'bench', credentials, storageClass: 'STANDARD' };
  const repository = createRepository('cloud', settings as Parameters<typeof createRepository>[1], 'bench');
  const cipher = encrypted ? await cipherOf(repository) : null;
  const spool = createSpool({ directory, application: 'bench', codec: CODEC, cipher });
  const catalog = createCatalog(repository);
  const targetVolumeBytes = VOLUME_BYTES;
  const transfer = createTransfer({ repository, catalog, spool, codec: CODEC, cipher, targetVolumeBytes });
  const backupId = `20261122T000000Z-full-${randomBytes(4).toString('hex')}`;
  const ref = { store: 'bench', backupId, kind: 'full' as const };

  const started = performance.now();
  const dump = async () => {
    const attempt = await transfer.beginSpool({ ...ref, attempt: 1 }, CONTENT_BYTES);
    for (let from = 0, number = 1; from < CONTENT_BYTES; from += VOLUME_BYTES, number += 1) {
      const volume = attempt.sink.volume(`vol-${String(number).padStart(5, '0')}.tar`);
      const part = { start: from, end: from + VOLUME_BYTES - 1, highWaterMark: 2 ** 20 };
      fs.createReadStream(content, part).pipe(volume);
      await finished(volume);
    }
    await attempt.finish(NOTHING_SPECIAL);
  };
  const [, stored] = await Promise.all([dump(), transfer.uploadSpool(ref, quiet())]);
  const seconds = (performance.now() - started) / 1_000;
  await transfer.removeSpool(ref);
  return { seconds, storedBytes: stored.artifacts.reduce((sum, each) => sum + each.sizeBytes, 0) };
}

/** A data key of its own, as a worker has it that encrypts. */
async function cipherOf(repository: Repository): Promise<ObjectCipher> {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 3072 });
  const pem = new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
  const options = {
    application: 'bench',
    repositories: [repository],
    recipients: { bench: { kind: 'key-file', privateKey: pem } },
  } as const;
  const { keyId } = await createDataKeys({ ...options, activeKeyId: null }).create('bench', new Date());
  const cipher = createObjectCipher(createDataKeys({ ...options, activeKeyId: keyId }), 'bench');
  await cipher.ready();
  return cipher;
}

interface Moved {
  readonly seconds: number;
  readonly storedBytes: number;
}

async function throughPipe(bench: BenchLab, content: string): Promise<Moved> {
  const started = performance.now();
  const printed = await pipeline([
    { argv: ['zstd', '-T2', '-3', '-q', '-c', content] },
    uploadStage(labUploadPlace(bench), `peer/${randomBytes(4).toString('hex')}.zst`),
  ]);
  const { sizeBytes } = JSON.parse(printed) as { sizeBytes: number };
  return { seconds: (performance.now() - started) / 1_000, storedBytes: sizeBytes };
}

function quiet(): CallContext {
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  return { signal: AbortSignal.timeout(600_000), log, progress() {} };
}

/** Half hexadecimal digits, half words, as the rows of `seedBulk`. */
async function writeContent(file: string): Promise<void> {
  const stream = fs.createWriteStream(file);
  for (let row = 0; row * 1_024 < CONTENT_BYTES; row += 1) {
    const digits = [1, 2, 3, 4].map((part) => createHash('sha512').update(`${row}:${part}`).digest('hex')).join('');
    if (!stream.write(digits + `ultramarket order ${row % 100} `.repeat(24).padEnd(512))) await once(stream, 'drain');
  }
  stream.end();
  await finished(stream);
}
