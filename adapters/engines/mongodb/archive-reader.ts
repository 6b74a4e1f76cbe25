import { BSON as Bson } from 'mongodb';
import { failure } from '../../../core/errors';
import { ARCHIVE_MAGIC, type ArchivedNamespace } from './archive-writer';
import { Crc64 } from './crc64';
import { ByteReader } from './document-stream';

export type ArchivePart =
  | { readonly kind: 'head'; readonly namespaces: readonly ArchivedNamespace[] }
  /** Whole documents, one after the other. */
  | { readonly kind: 'documents'; readonly db: string; readonly collection: string; readonly documents: Buffer }
  | { readonly kind: 'end'; readonly db: string; readonly collection: string };

/**
 * Reads mongodump's archive format in constant memory. Throws BackupCorrupt for bytes that are not an archive, a checksum
 * that differs, and a namespace that has no end (an archive has no trailer: that is how a cut one is found).
 */
export async function* readArchive(chunks: AsyncIterator<Buffer>, name: string): AsyncGenerator<ArchivePart> {
  const reader = new ByteReader(chunks, name);
  if (!(await reader.take(4)).equals(ARCHIVE_MAGIC)) throw failure('BackupCorrupt', `${name} is no mongodump archive`);
  await reader.document();
  const namespaces: ArchivedNamespace[] = [];
  for (let line = await reader.document(); line; line = await reader.document()) {
    const { db, collection, metadata, type } = Bson.deserialize(line) as unknown as ArchivedNamespace;
    namespaces.push({ db, collection, metadata, type });
  }
  yield { kind: 'head', namespaces };

  const checksums = new Map<string, Crc64 | 'ended'>();
  for (let header = await reader.document(); header; header = await reader.document()) {
    const { db, collection, EOF, CRC } = Bson.deserialize(header, { useBigInt64: true }) as unknown as Header;
    const key = `${db}.${collection}`;
    const checksum = checksums.get(key) ?? new Crc64();
    if (checksum === 'ended') throw failure('BackupCorrupt', `${name} goes on with ${key} after its end`);
    checksums.set(key, checksum);
    for (let documents = await reader.documents(); documents; documents = await reader.documents()) {
      checksum.update(documents);
      yield { kind: 'documents', db, collection, documents };
    }
    if (!EOF) continue;
    if (checksum.digest() !== CRC) throw failure('BackupCorrupt', `${name}: the checksum of ${key} is wrong`);
    checksums.set(key, 'ended');
    yield { kind: 'end', db, collection };
  }
  const cut = namespaces.map(dataNamespace).find((key) => key !== null && checksums.get(key) !== 'ended');
  if (cut) throw failure('BackupCorrupt', `${name} ends before ${cut} does`);
}

interface Header {
  readonly db: string;
  readonly collection: string;
  readonly EOF: boolean;
  readonly CRC: bigint;
}

function dataNamespace({ db, collection, type }: ArchivedNamespace): string | null {
  if (type === 'view') return null;
  return `${db}.${type === 'timeseries' ? 'system.buckets.' : ''}${collection}`;
}
