import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import type { CallContext } from '../../core/call';
import { failure } from '../../core/errors';
import { absent } from '../filesystem/absent';
import { type GrowingFile, type Piece, type PieceDigests, UPLOAD_PIECE_BYTES } from '../../core/repository';
import { compositeOf } from '../volumes/piece-digests';
import {
  isSamePart,
  MultipartUpload,
  type MultipartTarget,
  type ObjectAttributes,
  type PartsThere,
} from './s3-multipart';

/** Three in flight fill a line of 100 ms and 2 Gbit/s; smaller parts would cost requests, larger ones memory. */
export const PART_BYTES = UPLOAD_PIECE_BYTES;

/** S3 allows 10,000 parts in an upload. */
export const MAX_PARTS = 10_000;

export interface FileUpload {
  readonly target: MultipartTarget;
  /** `composite`: what S3 will report as the object's checksum. */
  attributes(composite: string): ObjectAttributes;
  readonly key: string;
  readonly file: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  readonly pieces: PieceDigests | undefined;
  /** An upload that an earlier try began and did not complete. */
  readonly unfinished: string | null;
}

/**
 * Sends a file in parts; those that are there are only compared. What links the file's digest to the checksum that S3 will
 * confirm is known before the first byte is sent: from whoever wrote the file, else by reading it twice.
 */
export async function uploadFileInParts(upload: FileUpload, ctx: CallContext): Promise<{ etag: string }> {
  const { target, file, sizeBytes, unfinished } = upload;
  const partSizeBytes = filePartBytes(sizeBytes);
  const parts = knownParts(upload, partSizeBytes) ?? (await digestParts(upload, partSizeBytes, ctx));
  const multipart = await beginOrResume(target, unfinished, () => upload.attributes(compositeOf(parts)));
  const handle = await fs.open(file, 'r');
  try {
    const sender = new PartSender(multipart, upload, handle, (doneBytes) =>
      ctx.progress({ phase: 'uploading', doneBytes, totalBytes: sizeBytes, note: upload.key }),
    );
    for (const [index, sha256] of parts.entries())
      await sender.send({ sizeBytes: Math.min(partSizeBytes, sizeBytes - index * partSizeBytes), sha256 });
    return await multipart.upload.complete();
  } finally {
    // Parts in flight read from the handle's buffers and would outlive the call.
    await multipart.upload.settled();
    await handle.close();
  }
}

/** Those that came with the file, where they are of the very parts that will be sent. */
function knownParts({ pieces, sizeBytes }: FileUpload, partSizeBytes: number): readonly string[] | null {
  if (pieces?.pieceBytes !== partSizeBytes) return null;
  return pieces.sha256.length === Math.ceil(sizeBytes / partSizeBytes) ? pieces.sha256 : null;
}

/** SHA-256 of each part, base64; that of the whole file is compared in the same pass, so that they are of the same bytes. */
async function digestParts(
  { target, file, sizeBytes, sha256, key }: FileUpload,
  partSizeBytes: number,
  ctx: CallContext,
): Promise<readonly string[]> {
  const whole = createHash('sha256');
  const parts: string[] = [];
  const buffer = target.buffers.take(partSizeBytes);
  const handle = await fs.open(file, 'r');
  try {
    for (let at = 0; at < sizeBytes; at += partSizeBytes) {
      ctx.signal.throwIfAborted();
      const bytes = buffer.subarray(0, Math.min(partSizeBytes, sizeBytes - at));
      await readExactly(handle, bytes, at, file);
      whole.update(bytes);
      parts.push(createHash('sha256').update(bytes).digest('base64'));
      ctx.progress({ phase: 'reading', doneBytes: at + bytes.length, totalBytes: sizeBytes, note: key });
    }
  } finally {
    await handle.close();
    target.buffers.give(buffer);
  }
  const found = whole.digest('hex');
  if (found === sha256) return parts;
  throw failure('BackupCorrupt', `${file} changed since it was written: its SHA-256 is ${found}, not ${sha256}`);
}

/** Sends one part after the other; what the repository has of them is only compared. */
class PartSender {
  readonly #multipart: MultipartUpload;
  readonly #there: PartsThere;
  readonly #upload: Pick<FileUpload, 'target' | 'file' | 'key'>;
  readonly #handle: fs.FileHandle;
  readonly #report: (doneBytes: number) => void;
  #number = 0;
  #at = 0;
  #doneBytes = 0;

  constructor(
    multipart: { readonly upload: MultipartUpload; readonly there: PartsThere },
    upload: Pick<FileUpload, 'target' | 'file' | 'key'>,
    handle: fs.FileHandle,
    report: (doneBytes: number) => void,
  ) {
    this.#multipart = multipart.upload;
    this.#there = multipart.there;
    this.#upload = upload;
    this.#handle = handle;
    this.#report = report;
  }

  async send({ sizeBytes, sha256 }: Piece): Promise<void> {
    const { target, file } = this.#upload;
    target.signal.throwIfAborted();
    const number = (this.#number += 1);
    const giveBack = await this.#multipart.slot();
    const buffer = target.buffers.take(sizeBytes);
    const release = () => {
      target.buffers.give(buffer);
      giveBack();
    };
    const bytes = buffer.subarray(0, sizeBytes);
    try {
      await readExactly(this.#handle, bytes, this.#at, file);
    } catch (error) {
      release();
      throw error;
    }
    this.#at += sizeBytes;
    const done = () => {
      release();
      this.#doneBytes += sizeBytes;
      this.#report(this.#doneBytes);
    };
    if (isSamePart(this.#there, number, bytes, sha256)) {
      this.#multipart.adopt({ number, etag: this.#there.get(number)!.etag, checksum: sha256 });
      done();
    } else {
      // Bytes that changed since the digest was taken are refused by S3.
      this.#multipart.send(number, bytes, sha256, done);
    }
  }
}

export async function beginOrResume(
  target: MultipartTarget,
  unfinished: string | null,
  attributes: () => ObjectAttributes,
): Promise<{ upload: MultipartUpload; there: PartsThere }> {
  const resumed = unfinished === null ? null : await MultipartUpload.resume(target, unfinished);
  return resumed ?? { upload: await MultipartUpload.begin(target, attributes()), there: new Map() };
}

export interface GrowingUpload {
  readonly target: MultipartTarget;
  readonly attributes: ObjectAttributes;
  readonly key: string;
  readonly file: GrowingFile;
  readonly unfinished: string | null;
}

export interface SentPieces {
  /** What S3 will say of the object; see `compositeOf`. */
  readonly composite: string;
  /** Makes the object of them. */
  readonly complete: () => Promise<{ etag: string }>;
}

/**
 * Sends the pieces of a file as they are written; what links its digest to theirs is that one writer took them all. Null
 * where no object can be made of them: of an empty file, and of one of more pieces than an upload may have (80 GB), whose
 * parts are taken back. The file is complete then.
 */
export async function sendGrowing(growing: GrowingUpload, ctx: CallContext): Promise<SentPieces | null> {
  const { target, key, file, attributes, unfinished } = growing;
  const digests: string[] = [];
  let sending: { readonly upload: MultipartUpload; readonly sender: PartSender; close(): Promise<void> } | null = null;
  const begin = async () => {
    const { path, handle } = await openFirst(file.paths);
    const multipart = await beginOrResume(target, unfinished, () => attributes);
    const report = (doneBytes: number) => ctx.progress({ phase: 'uploading', doneBytes, note: key });
    const sender = new PartSender(multipart, { target, file: path, key }, handle, report);
    return { upload: multipart.upload, sender, close: () => handle.close() };
  };
  try {
    for await (const piece of file.pieces()) {
      digests.push(piece.sha256);
      if (digests.length > MAX_PARTS) continue;
      sending ??= await begin();
      await sending.sender.send(piece);
    }
  } finally {
    // Parts in flight read from the handle's buffers and would outlive the call.
    await sending?.upload.settled();
    await sending?.close();
  }
  const { upload } = sending ?? {};
  if (!upload) return null;
  if (digests.length <= MAX_PARTS) return { composite: compositeOf(digests), complete: () => upload.complete() };
  await upload.abort();
  return null;
}

async function openFirst(paths: readonly string[]): Promise<{ path: string; handle: fs.FileHandle }> {
  for (const each of paths.slice(0, -1)) {
    const handle = await fs.open(each, 'r').catch(absent);
    if (handle) return { path: each, handle };
  }
  const last = paths.at(-1)!;
  return { path: last, handle: await fs.open(last, 'r') };
}

async function readExactly(handle: fs.FileHandle, into: Buffer, at: number, file: string): Promise<void> {
  for (let have = 0; have < into.length;) {
    const { bytesRead } = await handle.read(into, have, into.length - have, at + have);
    if (bytesRead === 0) throw failure('BackupCorrupt', `${file} became shorter while it was uploaded`);
    have += bytesRead;
  }
}

/** Whole MiB, so large that the file fits into the number of parts allowed. */
function filePartBytes(sizeBytes: number): number {
  const least = Math.ceil(sizeBytes / MAX_PARTS / 2 ** 20) * 2 ** 20;
  return Math.max(PART_BYTES, least);
}
