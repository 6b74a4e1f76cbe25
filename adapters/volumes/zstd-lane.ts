import type { TransformOptions } from 'node:stream';
import { constants, createZstdCompress, type ZstdCompress, type ZstdOptions } from 'node:zlib';

/** What one lane may hold of a frame that does not compress: the content and zstd's own overhead on it. */
const OVERHEAD_BYTES = 64 * 2 ** 10;

/**
 * One compression context of zstd with its buffers, used for one frame after the other. A context made for every frame, as
 * `zstdCompress` does, costs more than half of what compressing fast content takes: its tables are mapped, cleared and
 * unmapped each time (24.21: 3.1 s of CPU for 840 MB, against 1.3 s with lanes).
 */
export class ZstdLane {
  readonly #stream: ZstdCompress;

  constructor(level: number, frameBytes: number) {
    const outputBytes = frameBytes + OVERHEAD_BYTES;
    const options: ZstdOptions & Pick<TransformOptions, 'readableHighWaterMark'> = {
      // Every write is a whole frame; zstd, told so at the first call, writes the frame's content size into its header.
      flush: constants.ZSTD_e_end,
      chunkSize: outputBytes,
      // The whole frame fits, so that it is there when the write is done.
      readableHighWaterMark: 2 * outputBytes,
      params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
    };
    this.#stream = createZstdCompress(options);
    // The write's own callback reports it; without a listener it would end the process.
    this.#stream.on('error', () => {});
  }

  /** One frame of the content, which must not change until it is there. Its bytes hold until the next call. One call at a time. */
  compress(content: Uint8Array): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      this.#stream.write(content, (error) => {
        if (error) return reject(error);
        const frame = this.#stream.read() as Buffer;
        // Node's own count of what it has given away of its buffer (lib/zlib.js processCallback), as in ZstdUnpackLane: a new
        // buffer for every few frames has V8 look through the whole heap several times a second. And with room for all of
        // a frame zstd writes it without a copy.
        (this.#stream as unknown as Record<string, number>)['_outOffset'] = 0;
        resolve(frame);
      });
    });
  }

  close(): void {
    this.#stream.destroy();
  }
}
