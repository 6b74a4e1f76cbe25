import { createHash } from 'node:crypto';
import { Readable } from 'node:stream';
import { failure, hasCode } from '../../core/errors';
import { boundName, layout } from '../../core/layout';
import type { LogArchive, LogEntry, LogNaming, LogPiece } from '../../core/log-archive';
import type { ObjectHead, Repository } from '../../core/repository';
import { CipherFormatError, isEncrypted, type ObjectCipher } from '../encryption/encrypted-object';
import { packWhole, provenDigest, unpackWhole } from '../volumes/whole-frame';
import { decompressFrames, ZstdFormatError } from '../volumes/zstd-frame-reader';
import { zstdFrame } from '../volumes/zstd-frames';
import { createLogHistory } from './log-history';
import { LogListing } from './log-listing';
import { arrange, type ArrangedLog, holesIn } from './log-order';

/** Slices are small and many: a higher level would cost the archiver's CPU for little. */
const ZSTD_LEVEL = 3;

/** Annotations of a stored entry. */
const COVERS_UNTIL = 'covers-until';
const CONTENT_SHA256 = 'content-sha256';
const CONTENT_BYTES = 'content-bytes';
const ENCRYPTION_KEY_ID = 'encryption-key-id';
/** Which entry it is: an object that was put in another one's place takes its annotations along. */
const ENTRY = 'entry';

/** PostgreSQL's largest segment (initdb --wal-segsize). No piece of a log holds more. */
const LARGEST_PIECE_BYTES = 2 ** 30;

/**
 * What a person's `zstd -d` takes away again. An encrypted entry has the same name: of two archivers one may have the key already
 * and the other one not, and the repository must still let only one of them have a name.
 */
const SUFFIX = '.zst';

/**
 * The log of one store in a repository: `data/log/<store>/<lineage>/<name>.zst`, each object one zstd frame, encrypted where there
 * is a key for that. Entries of both kinds may follow each other.
 */
export function createLogArchive(
  repository: Repository,
  store: string,
  naming: LogNaming,
  cipher: ObjectCipher | null = null,
): LogArchive {
  const listing = new LogListing(repository, layout.logs(store));
  /** Seen twice: not asked about again. */
  const realHoles = new Set<string>();
  const keyOf = (lineage: string, name: string) => `${layout.log(store, lineage, name)}${SUFFIX}`;

  const nameIn = (key: string) => key.slice(layout.logs(store).length, -SUFFIX.length);

  function entryAt(lineage: string, fileName: string, sizeBytes: number): LogEntry | null {
    if (!fileName.endsWith(SUFFIX)) return null;
    const name = fileName.slice(0, -SUFFIX.length);
    const read = naming.read(lineage, name);
    return read && { key: keyOf(lineage, name), lineage, name, sizeBytes, ...read };
  }

  async function listed(lineage: string): Promise<ArrangedLog> {
    const files = await listing.files(lineage);
    const all = [...files].flatMap(([name, sizeBytes]) => entryAt(lineage, name, sizeBytes) ?? []);
    return arrange(all, naming);
  }

  /**
   * A listing is not one moment. A segment that takes the place of its slices just then may be seen as neither: its name had
   * been passed before it was stored, theirs were reached after they had gone. A hole is one that a second listing, begun
   * after the segment was stored, shows as well.
   */
  async function arranged(lineage: string): Promise<ArrangedLog> {
    const seen = new Set(realHoles);
    for (;;) {
      const log = await listed(lineage);
      const holes = holesIn(log.visible, naming);
      if (holes.every((each) => seen.has(each))) {
        for (const each of holes) realHoles.add(each);
        return log;
      }
      for (const each of holes) seen.add(each);
      listing.forget(lineage);
    }
  }

  function corrupt(key: string, why: string, cause?: unknown): Error {
    return failure('BackupCorrupt', `${key} in ${repository.location} cannot be used: ${why}`, {
      context: { key, repository: repository.name },
      cause,
    });
  }

  /**
   * The frame out of the stored bytes, which are what was stored: also where zstd would not mind, as some bits of its headers
   * change nothing.
   */
  async function readIntact(key: string, head: ObjectHead | null): Promise<{ frame: Buffer; head: ObjectHead }> {
    if (!head) throw corrupt(key, 'it is not there any more');
    const named = head.metadata[ENTRY];
    if (named !== undefined && named !== nameIn(key)) throw corrupt(key, `it is the entry ${named}`);
    if (head.storedSha256) throw corrupt(key, `its SHA-256 is ${head.sha256}, ${head.storedSha256} was stored`);
    const stored = await repository.read(key);
    if (head.sha256 !== null && sha256Of(stored) !== head.sha256) {
      throw corrupt(key, `its SHA-256 is ${sha256Of(stored)}, ${head.sha256} was stored`);
    }
    return { frame: isEncrypted(stored) ? await decrypted(key, stored) : stored, head };
  }

  async function decrypted(key: string, stored: Buffer): Promise<Buffer> {
    if (!cipher) {
      throw failure(
        'ConfigInvalid',
        `${key} in ${repository.location} is encrypted, and the config has no \`encryption\``,
        {
          next: 'Name a recipient of its data key under `encryption.recipients` (docs/encryption.md), then start again.',
          context: { key, repository: repository.name },
        },
      );
    }
    try {
      return await cipher.decrypt(boundName(key), stored);
    } catch (error) {
      throw error instanceof CipherFormatError ? corrupt(key, error.message, error) : error;
    }
  }

  const encrypted = (key: string, frame: Buffer) =>
    cipher === null || cipher.keyId === null ? frame : cipher.encrypt(boundName(key), frame);

  /** The annotation is absent only where the process died between an object and it; zstd's own checksum was right then. */
  function compareContent(key: string, { metadata }: ObjectHead, found: string): void {
    const expected = metadata[CONTENT_SHA256];
    if (expected !== undefined && found !== expected)
      throw corrupt(key, `its content has SHA-256 ${found}, not ${expected}`);
  }

  async function plain({ key }: Pick<LogEntry, 'key'>, found: ObjectHead | null): Promise<Buffer> {
    const { frame, head } = await readIntact(key, found);
    const chunks: Buffer[] = [];
    try {
      for await (const chunk of decompressFrames(Readable.from([frame]), contentBytesOf(head))) chunks.push(chunk);
    } catch (error) {
      throw error instanceof ZstdFormatError ? corrupt(key, error.message, error) : error;
    }
    // One frame, so one chunk: to join it would hold a segment of 16 MB twice.
    const [only] = chunks;
    const content = only && chunks.length === 1 ? only : Buffer.concat(chunks);
    compareContent(key, head, sha256Of(content));
    return content;
  }

  async function lend<T>(entry: Pick<LogEntry, 'key'>, use: (content: Buffer) => Promise<T>): Promise<T> {
    const { key } = entry;
    const found = await repository.head(key);
    // Without the annotation nobody knows how much memory it takes.
    if (!found?.metadata[CONTENT_BYTES]) return use(await plain(entry, found));
    const { frame, head } = await readIntact(key, found);
    try {
      return await unpackWhole(frame, contentBytesOf(head), (content) => {
        // The very bytes that were stored hold what they held then (`prove`); a digest of 16 MiB more for each of hundreds
        // of segments is time that a server waits for its log.
        if (head.sha256 === null) compareContent(key, head, sha256Of(content));
        return use(content);
      });
    } catch (error) {
      throw error instanceof ZstdFormatError ? corrupt(key, error.message, error) : error;
    }
  }

  /** See core/log-archive.ts. */
  async function prove({ key }: Pick<LogEntry, 'key'>): Promise<boolean> {
    const found = await repository.head(key);
    const isNoted = found?.metadata[CONTENT_SHA256] !== undefined;
    if (!found?.metadata[CONTENT_BYTES]) {
      // Without the annotation nobody knows how much memory it takes.
      await plain({ key }, found);
      return isNoted;
    }
    const { frame, head } = await readIntact(key, found);
    try {
      compareContent(key, head, await provenDigest(frame, contentBytesOf(head)));
    } catch (error) {
      throw error instanceof ZstdFormatError ? corrupt(key, error.message, error) : error;
    }
    return isNoted;
  }

  async function refuseOtherBytes(key: string, sha256: string): Promise<ObjectHead> {
    const head = await repository.head(key);
    const found = head?.metadata[CONTENT_SHA256] ?? sha256Of(await plain({ key }, head));
    if (head && found === sha256) return head;
    throw failure('LogGap', `${key} in ${repository.location} is archived already with other content (split brain)`, {
      data: 'Two servers wrote different log under one name: what was archived first stays, the new log is not archived.',
      next: 'Find the second server that writes on this lineage and stop it; then take a full backup of the right one.',
      context: { key, found, offered: sha256 },
    });
  }

  return {
    async entries(lineage) {
      return (await arranged(lineage)).visible;
    },

    async replaced(lineage) {
      return (await arranged(lineage)).replaced;
    },

    async append(piece: LogPiece): Promise<LogEntry> {
      const { lineage, name, kind, from, to, coversUntil, content } = piece;
      const key = keyOf(lineage, name);
      const sha256 = sha256Of(content);
      const metadata = {
        [ENTRY]: `${lineage}/${name}`,
        [CONTENT_SHA256]: sha256,
        [CONTENT_BYTES]: String(content.byteLength),
        ...(coversUntil === null ? {} : { [COVERS_UNTIL]: coversUntil }),
        ...(cipher?.keyId ? { [ENCRYPTION_KEY_ID]: cipher.keyId } : {}),
      };
      const put = async (frame: Buffer) =>
        repository.put(key, await encrypted(key, frame), { ifAbsent: true, metadata }).catch((error: unknown) => {
          // The same content may have been compressed by another version of zstd, and is encrypted otherwise each time: only
          // the content decides.
          if (hasCode(error, 'LockHeld')) return refuseOtherBytes(key, sha256);
          throw error;
        });
      // Segments are large and of one size; slices are neither.
      const head =
        kind === 'segment'
          ? await packWhole(content, ZSTD_LEVEL, put)
          : await put(await zstdFrame(content, { level: ZSTD_LEVEL }));
      listing.added(lineage, `${name}${SUFFIX}`, head.sizeBytes);
      return { key, lineage, name, kind, from, to, coversUntil, sizeBytes: head.sizeBytes };
    },

    async lineages() {
      return listing.folders();
    },

    async resolve(entry) {
      if (entry.coversUntil !== null) return entry;
      const head = await repository.head(entry.key);
      if (!head) listing.forget(entry.lineage);
      return { ...entry, coversUntil: head?.metadata[COVERS_UNTIL] ?? null };
    },

    async open(entry) {
      try {
        return Readable.from([await plain(entry, await repository.head(entry.key))], { objectMode: false });
      } catch (error) {
        // Another process may have put a segment in its place since it was listed: the next listing shows it.
        listing.forget(entry.lineage);
        throw error;
      }
    },

    lend,
    prove,

    async replace(slices, segment) {
      if (segment.kind !== 'segment') throw failure('UsageInvalid', `${segment.key} is a slice: it replaces nothing`);
      await prove(segment);
      const gone = slices.filter((slice) => slice.kind === 'slice' && slice.lineage === segment.lineage);
      await repository.delete(gone.map((slice) => slice.key));
      for (const slice of gone) listing.removed(slice.lineage, `${slice.name}${SUFFIX}`);
    },

    ...createLogHistory(repository, store),
  };
}

function contentBytesOf({ metadata }: ObjectHead): number {
  return Math.min(Number(metadata[CONTENT_BYTES]) || LARGEST_PIECE_BYTES, LARGEST_PIECE_BYTES);
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}
