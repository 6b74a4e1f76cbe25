import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { BSON as Bson, Long } from 'mongodb';
import { Crc64 } from './crc64';

/** What the head of an archive says of a namespace. */
export interface ArchivedNamespace {
  readonly db: string;
  readonly collection: string;
  /** Options and indexes as canonical extended JSON; empty for the oplog. */
  readonly metadata: string;
  readonly type: '' | 'collection' | 'view' | 'timeseries';
}

export const ARCHIVE_MAGIC = Buffer.from([0x6d, 0xe2, 0x99, 0x81]);
const TERMINATOR = Buffer.from([0xff, 0xff, 0xff, 0xff]);

/**
 * Writes mongodump's archive format, version 0.1 (mongo-tools, common/archive): magic, head, one document a namespace,
 * terminator; then blocks of header, documents, terminator, those of several namespaces mixed; per namespace a last header
 * with the checksum of all its documents. `mongorestore --archive --oplogReplay` reads it.
 */
export class ArchiveWriter {
  private readonly out: Writable;
  private readonly checksums = new Map<string, Crc64>();
  private readonly signal: AbortSignal;

  constructor(out: Writable, signal: AbortSignal) {
    this.out = out;
    this.signal = signal;
  }

  async head(
    versions: { server: string; tool: string },
    concurrentCollections: number,
    namespaces: readonly ArchivedNamespace[],
  ): Promise<void> {
    const head = {
      concurrent_collections: concurrentCollections,
      version: '0.1',
      server_version: versions.server,
      tool_version: versions.tool,
    };
    const lines = namespaces.map(({ db, collection, metadata, type }) =>
      Bson.serialize({ db, collection, metadata, size: 0, type: type === 'collection' ? '' : type }),
    );
    await this.write([ARCHIVE_MAGIC, Bson.serialize(head), ...lines, TERMINATOR]);
  }

  /** One block. The memory of `documents` belongs to the archive from now on. */
  async block(db: string, collection: string, documents: Buffer): Promise<void> {
    this.checksumOf(db, collection).update(documents);
    await this.write([this.header(db, collection, false, 0n), documents, TERMINATOR]);
  }

  /** The end of a namespace; every one of the head needs it, also one that is empty or a view. */
  async end(db: string, collection: string): Promise<void> {
    await this.write([this.header(db, collection, true, this.checksumOf(db, collection).digest()), TERMINATOR]);
  }

  /** Resolves when the volume is durable where the sink puts it. */
  async close(): Promise<void> {
    const done = finished(this.out, { signal: this.signal });
    this.out.end();
    await done;
  }

  private header(db: string, collection: string, EOF: boolean, crc: bigint): Uint8Array {
    return Bson.serialize({ db, collection, EOF, CRC: Long.fromBigInt(crc) });
  }

  private checksumOf(db: string, collection: string): Crc64 {
    const key = `${db}.${collection}`;
    const found = this.checksums.get(key) ?? new Crc64();
    this.checksums.set(key, found);
    return found;
  }

  /** All parts of a block in one go, so that blocks of collections read at the same time do not mix. */
  private async write(parts: readonly Uint8Array[]): Promise<void> {
    this.signal.throwIfAborted();
    if (this.out.errored) throw this.out.errored;
    let ready = true;
    for (const part of parts) ready = this.out.write(part);
    // Several collections may wait for the same drain; it comes once and wakes them all.
    if (!ready) await once(this.out, 'drain', { signal: this.signal });
  }
}
