import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import type { Artifact, Manifest } from '../../core/catalog';
import { failure, hasCode } from '../../core/errors';
import type { Repository } from '../../core/repository';
import type { VolumeSource } from '../../core/volumes';
import { decompressFrames, lendFrames, ZstdFormatError } from './zstd-frame-reader';

type StoredBytes = Pick<Artifact, 'key' | 'sizeBytes' | 'sha256'>;

/** Tries in a row without a single byte before a read is given up to the caller's own retry. */
const FRUITLESS_READS = 3;

/** Reads the artifacts of a chain, each byte of which is verified before its stream ends. */
export function createVolumeSource(repository: Repository, chain: readonly Manifest[]): VolumeSource {
  return {
    open(artifact: Artifact): Promise<Readable> {
      requireReadable(artifact);
      // Not object mode: consumers get plain Buffers with backpressure counted in bytes.
      const content = Readable.from(verifiedContent(repository, artifact), {
        objectMode: false,
        highWaterMark: 2 ** 20,
      });
      return Promise.resolve(content);
    },

    lend(artifact: Artifact): AsyncIterable<Buffer> {
      requireReadable(artifact);
      return lentContent(repository, artifact);
    },

    async early(backupId: string, name: string): Promise<Buffer> {
      const file = chain.find((each) => each.backupId === backupId)?.early.find((each) => each.name === name);
      if (!file) throw failure('NotFound', `backup ${backupId} has no early file "${name}" in this chain`);
      const bytes = await repository.read(file.key).catch((error: unknown) => {
        throw hasCode(error, 'NotFound') ? missing(file.key, repository, error) : error;
      });
      checkStored(file, { sizeBytes: bytes.length, sha256: sha256Of(bytes) }, repository);
      return bytes;
    },
  };
}

/** Reads the stored bytes of an object and compares size and digest, without undoing a codec. */
export async function verifyStored(
  repository: Repository,
  artifact: StoredBytes,
  onBytes: (bytes: number) => void,
): Promise<void> {
  for await (const chunk of verifiedStored(repository, artifact)) onBytes(chunk.length);
}

function requireReadable(artifact: Artifact): void {
  if (artifact.encryptionKeyId === null) return;
  throw failure(
    'ConfigInvalid',
    `${artifact.key} is encrypted with key ${artifact.encryptionKeyId}, which is not configured`,
  );
}

async function* verifiedContent(repository: Repository, artifact: Artifact): AsyncGenerator<Buffer, void> {
  const hash = createHash('sha256');
  let contentBytes = 0;
  for await (const chunk of plainContent(repository, artifact, decompressFrames)) {
    hash.update(chunk);
    contentBytes += chunk.length;
    yield chunk;
  }
  const contentSha256 = hash.digest('hex');
  if (contentBytes !== artifact.contentBytes || contentSha256 !== artifact.contentSha256) {
    const difference = `its content is ${contentBytes} bytes with SHA-256 ${contentSha256}, not ${artifact.contentBytes} with ${artifact.contentSha256}`;
    throw corrupt(artifact.key, repository, difference);
  }
}

async function* lentContent(repository: Repository, artifact: Artifact): AsyncGenerator<Buffer, void> {
  let contentBytes = 0;
  for await (const chunk of plainContent(repository, artifact, lendFrames)) {
    contentBytes += chunk.length;
    yield chunk;
  }
  if (contentBytes !== artifact.contentBytes) {
    const difference = `its content is ${contentBytes} bytes, not ${artifact.contentBytes}`;
    throw corrupt(artifact.key, repository, difference);
  }
}

async function* plainContent(
  repository: Repository,
  artifact: Artifact,
  undo: typeof decompressFrames,
): AsyncGenerator<Buffer, void> {
  const stored = verifiedStored(repository, artifact);
  try {
    yield* artifact.codec === 'zstd' ? undo(stored) : stored;
  } catch (error) {
    if (!(error instanceof ZstdFormatError)) throw error;
    throw corrupt(artifact.key, repository, error.message, error);
  }
}

async function* verifiedStored(repository: Repository, artifact: StoredBytes): AsyncGenerator<Buffer, void> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of resumingBytes(repository, artifact)) {
    hash.update(chunk);
    sizeBytes += chunk.length;
    yield chunk;
  }
  checkStored(artifact, { sizeBytes, sha256: hash.digest('hex') }, repository);
}

/** The stored bytes; a connection lost in the middle is taken up again where it broke. */
async function* resumingBytes(repository: Repository, { key, sizeBytes }: StoredBytes): AsyncGenerator<Buffer, void> {
  let received = 0;
  for (let fruitless = 0; ;) {
    try {
      const body = await repository.get(key, received === 0 ? undefined : { start: received, end: sizeBytes });
      for await (const chunk of body as AsyncIterable<Buffer>) {
        received += chunk.length;
        fruitless = 0;
        // Appended to since: stop here, the size tells.
        yield chunk;
        if (received > sizeBytes) break;
      }
      return;
    } catch (error) {
      if (hasCode(error, 'NotFound')) throw missing(key, repository, error);
      fruitless += 1;
      if (!hasCode(error, 'RepositoryUnavailable') || fruitless >= FRUITLESS_READS) throw error;
      if (received >= sizeBytes) return;
    }
  }
}

function checkStored(
  expected: { readonly key: string; readonly sizeBytes: number; readonly sha256: string },
  found: { readonly sizeBytes: number; readonly sha256: string },
  repository: Repository,
): void {
  if (found.sizeBytes !== expected.sizeBytes) {
    throw corrupt(expected.key, repository, `it has ${found.sizeBytes} bytes, not ${expected.sizeBytes}`);
  }
  if (found.sha256 !== expected.sha256) {
    throw corrupt(expected.key, repository, `its SHA-256 is ${found.sha256}, not ${expected.sha256}`);
  }
}

function corrupt(key: string, repository: Repository, difference: string, cause?: unknown): Error {
  return failure('BackupCorrupt', `${key} in ${repository.location} differs from its manifest: ${difference}`, {
    context: { key, repository: repository.name },
    cause,
  });
}

function missing(key: string, repository: Repository, cause: unknown): Error {
  return failure('BackupCorrupt', `${key} in ${repository.location} is named by a manifest and is not there`, {
    context: { key, repository: repository.name },
    cause,
  });
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
