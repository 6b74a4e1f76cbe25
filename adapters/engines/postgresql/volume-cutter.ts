import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { VolumeSink } from '../../../core/volumes';
import type { MemberCheck } from './member-check';
import { paddedBytes, readTarHeader, TAR_BLOCK_BYTES, TAR_END } from './tar-header';

/** Large enough that a write costs nothing, small enough that several hold in memory. */
const BLOCK_BYTES = 1024 * 1024;

/**
 * Cuts the tar archives that the server sends into volumes, at the first member boundary at or after the target size, each
 * volume an archive complete by itself. The base directory becomes `vol-00001.tar` …, a tablespace `<oid>-vol-00001.tar` ….
 *
 * `push` takes bytes as they come and copies them; `onFull` is called when the sink needs a pause, `onDrained` after it.
 * Every file goes through `check` on its way.
 */
export class VolumeCutter {
  private readonly sink: VolumeSink;
  private readonly check: MemberCheck;
  private readonly onFull: () => void;
  private readonly onDrained: () => void;
  private readonly onError: (error: unknown) => void;
  private readonly finishing: Promise<void>[] = [];
  private volumePrefix = '';
  /** What the manifest writes before the names of the current archive. */
  private namePrefix = '';
  private number = 0;
  private volume: Writable | null = null;
  private volumeBytes = 0;
  /** Blocks that no volume reads any more: new ones for every megabyte would keep the garbage collector busy. */
  private readonly free: Buffer[] = [];
  /** What was copied and not yet handed to the volume. */
  private block: Buffer = Buffer.allocUnsafeSlow(BLOCK_BYTES);
  private filled = 0;
  /** A header that arrived in pieces. */
  private readonly header = Buffer.alloc(TAR_BLOCK_BYTES);
  private headerFilled = 0;
  /** Of the current member, still to come. */
  private contentLeft = 0;
  private paddingLeft = 0;
  private waiting = false;

  constructor(
    sink: VolumeSink,
    check: MemberCheck,
    flow: { onFull(): void; onDrained(): void; onError(error: unknown): void },
  ) {
    this.sink = sink;
    this.check = check;
    this.onFull = () => flow.onFull();
    this.onDrained = () => flow.onDrained();
    this.onError = (error) => flow.onError(error);
  }

  /** Begins the archive of the base directory (null) or of a tablespace. */
  begin(tablespaceOid: string | null): void {
    this.endVolume();
    this.volumePrefix = tablespaceOid === null ? '' : `${tablespaceOid}-`;
    this.namePrefix = tablespaceOid === null ? '' : `pg_tblspc/${tablespaceOid}/`;
    this.number = 0;
    this.headerFilled = 0;
    this.contentLeft = 0;
    this.paddingLeft = 0;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.contentLeft > 0) {
        const content = chunk.subarray(at, at + this.contentLeft);
        this.check.content(content);
        this.store(content);
        this.contentLeft -= content.length;
        at += content.length;
      } else if (this.paddingLeft > 0) {
        const padding = chunk.subarray(at, at + this.paddingLeft);
        this.store(padding);
        this.paddingLeft -= padding.length;
        at += padding.length;
      } else {
        const length = Math.min(TAR_BLOCK_BYTES - this.headerFilled, chunk.length - at);
        chunk.copy(this.header, this.headerFilled, at, at + length);
        this.headerFilled += length;
        at += length;
        if (this.headerFilled === TAR_BLOCK_BYTES) this.member();
      }
    }
  }

  /** Ends the last volume and waits until all of them are durable. */
  async finish(): Promise<void> {
    this.endVolume();
    await Promise.all(this.finishing);
  }

  /** Throws the open volume away. */
  destroy(error: Error): void {
    this.volume?.destroy(error);
    this.volume = null;
  }

  private member(): void {
    this.headerFilled = 0;
    const member = readTarHeader(this.header, 'base backup stream');
    if (member === null) return; // PostgreSQL 15+ leaves the end to the receiver, older servers send it: we write our own
    if (this.volumeBytes >= this.sink.targetVolumeBytes) this.endVolume();
    this.contentLeft = member.sizeBytes;
    this.paddingLeft = paddedBytes(member.sizeBytes) - member.sizeBytes;
    if (member.type === 'file') this.check.begin(`${this.namePrefix}${member.name}`, member.sizeBytes);
    this.store(this.header);
  }

  private store(bytes: Buffer): void {
    this.volumeBytes += bytes.length;
    for (let at = 0; at < bytes.length;) {
      const length = Math.min(BLOCK_BYTES - this.filled, bytes.length - at);
      bytes.copy(this.block, this.filled, at, at + length);
      this.filled += length;
      at += length;
      if (this.filled === BLOCK_BYTES) this.flush();
    }
  }

  private flush(): void {
    if (this.filled === 0) return;
    const volume = (this.volume ??= this.open());
    const block = this.block;
    const goOn = volume.write(block.subarray(0, this.filled), () => this.free.push(block));
    this.block = this.free.pop() ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.filled = 0;
    if (!goOn && !this.waiting) void this.waitForDrain(volume);
  }

  private async waitForDrain(volume: Writable): Promise<void> {
    this.waiting = true;
    this.onFull();
    const over = new AbortController();
    // A volume that was ended meanwhile never drains: it finishes. Failures reach `onError` by its own `finished`.
    await Promise.race([once(volume, 'drain', over), once(volume, 'finish', over), once(volume, 'close', over)]).catch(
      () => undefined,
    );
    over.abort();
    this.waiting = false;
    this.onDrained();
  }

  private open(): Writable {
    this.number += 1;
    const volume = this.sink.volume(`${this.volumePrefix}vol-${String(this.number).padStart(5, '0')}.tar`);
    const done = finished(volume);
    done.catch((error: unknown) => this.onError(error));
    this.finishing.push(done);
    return volume;
  }

  private endVolume(): void {
    if (this.filled === 0 && this.volume === null) return;
    this.flush();
    this.volume?.end(TAR_END);
    this.volume = null;
    this.volumeBytes = 0;
  }
}
