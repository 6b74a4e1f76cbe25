import { createHash } from 'node:crypto';
import type { CallContext } from '../../core/call';
import type { Artifact, EarlyFile } from '../../core/catalog';
import { failure, hasCode } from '../../core/errors';
import type { Repository, StoredObject } from '../../core/repository';
import { missing, storedBytesOf } from '../volumes/source';
import { verifyObject } from '../volumes/transfer';

/** From where to where. */
export interface Route {
  readonly from: Repository;
  readonly to: Repository;
}

/**
 * An object whose digest a manifest knows. Streamed; stored only when what was read is what the manifest says. Answers the bytes
 * sent, 0 where the copy had it already. One that the copy has with other bytes is replaced.
 */
export async function copyArtifact({ from, to }: Route, artifact: Artifact, ctx: CallContext): Promise<number> {
  const state = await stateOf(to, artifact, ctx);
  if (state === 'right') return 0;
  if (state === 'wrong') await to.delete([artifact.key]);
  const { key, sizeBytes, sha256, composite = null } = artifact;
  const whole = () => storedBytesOf(from, artifact);
  const read = (start: number, end: number) =>
    from.get(key, { start, end }).catch((error: unknown) => {
      throw hasCode(error, 'NotFound') ? missing(key, from, error) : error;
    });
  await to.uploadFrom(key, { sizeBytes, sha256, composite, whole, read }, {}, ctx);
  return sizeBytes;
}

/** A small one, which stays where it can be read at once whatever class artifacts have. */
export async function copyEarly({ from, to }: Route, file: EarlyFile, ctx: CallContext): Promise<number> {
  const state = await stateOf(to, file, ctx);
  if (state === 'right') return 0;
  const chunks: Buffer[] = [];
  for await (const chunk of storedBytesOf(from, file)) chunks.push(chunk);
  await to.put(file.key, Buffer.concat(chunks), { ifAbsent: state === 'absent' });
  return file.sizeBytes;
}

async function stateOf(
  to: Repository,
  object: Artifact | EarlyFile,
  ctx: CallContext,
): Promise<'absent' | 'right' | 'wrong'> {
  if ((await to.head(object.key)) === null) return 'absent';
  try {
    await verifyObject(to, object, ctx);
    return 'right';
  } catch (error) {
    if (hasCode(error, 'BackupCorrupt')) return 'wrong';
    throw error;
  }
}

/**
 * A piece of log with what is noted of it. Null where it is gone from the source: a segment took its place. Throws BackupCorrupt
 * where it is not what was stored.
 */
export async function copyPiece({ from, to }: Route, object: StoredObject, replace: boolean): Promise<number | null> {
  const { key } = object;
  const head = await from.head(key);
  const bytes = head && (await readOrNull(from, key));
  if (!head || !bytes) return null;
  const found = createHash('sha256').update(bytes).digest('hex');
  const expected = head.storedSha256 ?? head.sha256;
  if (expected !== null && expected !== found)
    throw failure(
      'BackupCorrupt',
      `${key} in ${from.location} cannot be copied: its SHA-256 is ${found}, ${expected} was stored`,
      {
        context: { key, repository: from.name },
      },
    );
  await to.put(key, bytes, { ifAbsent: !replace, metadata: head.metadata });
  return bytes.byteLength;
}

export async function readOrNull(repository: Repository, key: string): Promise<Buffer | null> {
  try {
    return await repository.read(key);
  } catch (error) {
    if (hasCode(error, 'NotFound')) return null;
    throw error;
  }
}
