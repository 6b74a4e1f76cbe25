import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import type { Artifact, Manifest } from '../../core/catalog';
import { failure, hasCode } from '../../core/errors';
import { boundName } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { VolumeSource } from '../../core/volumes';
import { CipherFormatError, type ObjectCipher } from '../encryption/encrypted-object';
import type { LocalCopies } from './local-copies';
import { decompressFrames, lendFrames, ZstdFormatError } from './zstd-frame-reader';

type StoredBytes = Pick<Artifact, 'key' | 'sizeBytes' | 'sha256'>;

/** Tries in a row without a single byte before a read is given up to the caller's own retry. */
const FRUITLESS_READS = 3;

/**
 * Reads the artifacts of a chain, each byte of which is verified before its stream ends. Where this host has a copy of the very
 * bytes, that is read instead of the repository.
 */
export function createVolumeSource(
  repository: Repository,
  chain: readonly Manifest[],
  cipher: ObjectCipher | null = null,
  copies: Pick<LocalCopies, 'find'> | null = null,
): VolumeSource {
  return {
    open(artifact: Artifact): Promise<Readable> {
      const place = { repository, artifact, cipher: cipherFor(artifact, cipher), copies };
      // Not object mode: consumers get plain Buffers with backpressure counted in bytes.
      const content = Readable.from(verifiedContent(place), {
        objectMode: false,
        highWaterMark: 2 ** 20,
      });
      return Promise.resolve(content);
    },

    lend(artifact: Artifact): AsyncIterable<Buffer> {
      return lentContent({ repository, artifact, cipher: cipherFor(artifact, cipher), copies });
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
  for await (const chunk of storedBytesOf(repository, artifact)) onBytes(chunk.length);
}

/** An artifact where it lies, and what opens it; null: it is not encrypted. */
interface StoredArtifact {
  readonly repository: Repository;
  readonly artifact: Artifact;
  readonly cipher: ObjectCipher | null;
  readonly copies: Pick<LocalCopies, 'find'> | null;
}

function cipherFor({ key, encryptionKeyId }: Artifact, cipher: ObjectCipher | null): ObjectCipher | null {
  if (encryptionKeyId === null) return null;
  if (cipher) return cipher;
  throw failure(
    'ConfigInvalid',
    `${key} is encrypted with key ${encryptionKeyId}, and the config has no \`encryption\``,
    {
      data: 'Nothing was restored; the backup is as it was.',
      next: 'Name a recipient of its data key under `encryption.recipients` (docs/encryption.md), then start again.',
      context: { key, keyId: encryptionKeyId },
    },
  );
}

async function* verifiedContent(stored: StoredArtifact): AsyncGenerator<Buffer, void> {
  const { repository, artifact } = stored;
  const hash = createHash('sha256');
  let contentBytes = 0;
  for await (const chunk of plainContent(stored, decompressFrames)) {
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

async function* lentContent(stored: StoredArtifact): AsyncGenerator<Buffer, void> {
  const { repository, artifact } = stored;
  let contentBytes = 0;
  for await (const chunk of plainContent(stored, lendFrames)) {
    contentBytes += chunk.length;
    yield chunk;
  }
  if (contentBytes !== artifact.contentBytes) {
    const difference = `its content is ${contentBytes} bytes, not ${artifact.contentBytes}`;
    throw corrupt(artifact.key, repository, difference);
  }
}

async function* plainContent(
  { repository, artifact, cipher, copies }: StoredArtifact,
  undo: typeof decompressFrames,
): AsyncGenerator<Buffer, void> {
  const stored = storedBytesOf(repository, artifact, copies);
  const coded = cipher ? cipher.decrypting(boundName(artifact.key), stored) : stored;
  try {
    yield* artifact.codec === 'zstd' ? undo(coded) : coded;
  } catch (error) {
    if (!(error instanceof ZstdFormatError || error instanceof CipherFormatError)) throw error;
    throw corrupt(artifact.key, repository, error.message, error);
  }
}

/** The bytes as they are stored; ends only when size and digest were found right, else throws BackupCorrupt. */
export async function* storedBytesOf(
  repository: Repository,
  artifact: StoredBytes,
  copies: StoredArtifact['copies'] = null,
): AsyncGenerator<Buffer, void> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  for await (const chunk of resumingBytes(repository, artifact, copies)) {
    hash.update(chunk);
    sizeBytes += chunk.length;
    yield chunk;
  }
  checkStored(artifact, { sizeBytes, sha256: hash.digest('hex') }, repository);
}

/** The stored bytes; a connection lost in the middle is taken up again where it broke. */
async function* resumingBytes(
  repository: Repository,
  stored: StoredBytes,
  copies: StoredArtifact['copies'],
): AsyncGenerator<Buffer, void> {
  const { key, sizeBytes } = stored;
  let received = 0;
  for await (const chunk of copiedBytes(copies, stored)) {
    received += chunk.length;
    yield chunk;
  }
  if (received > 0 && received >= sizeBytes) return;
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

/** As much as can be read of this host's copy: where it was removed, or the disk fails, the repository has the rest. */
async function* copiedBytes(copies: StoredArtifact['copies'], stored: StoredBytes): AsyncGenerator<Buffer, void> {
  const copy = (await copies?.find(stored)) ?? null;
  if (copy === null) return;
  try {
    for await (const chunk of createReadStream(copy, { highWaterMark: 2 ** 20 })) yield chunk as Buffer;
  } catch {
    return;
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

export function missing(key: string, repository: Repository, cause: unknown): Error {
  return failure('BackupCorrupt', `${key} in ${repository.location} is named by a manifest and is not there`, {
    context: { key, repository: repository.name },
    cause,
  });
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
