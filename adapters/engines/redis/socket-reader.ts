import type { Socket } from 'node:net';
import { failure } from '../../../core/errors';

/**
 * Reads a socket by lines and by chunks, one at a time: what is not asked for stays in the kernel, so that a slow taker
 * slows the server down and nothing piles up here. The deadline runs only while we wait for the server.
 */
export class SocketReader {
  readonly #chunks: AsyncIterator<Buffer>;
  readonly #idleMilliseconds: number;
  readonly #peer: string;
  #rest: Buffer = Buffer.alloc(0);

  constructor(socket: Socket, peer: string, idleMilliseconds: number) {
    this.#chunks = (socket as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    this.#peer = peer;
    this.#idleMilliseconds = idleMilliseconds;
  }

  /** The next bytes, never empty. Throws TargetUnreachable when the server closes or stays silent too long. */
  async chunk(): Promise<Buffer> {
    if (this.#rest.length > 0) {
      const rest = this.#rest;
      this.#rest = Buffer.alloc(0);
      return rest;
    }
    let timer: NodeJS.Timeout | undefined;
    const silence = new Promise<never>((_, reject) => {
      const silent = () => {
        const seconds = this.#idleMilliseconds / 1_000;
        reject(failure('TargetUnreachable', `Redis at ${this.#peer} sent nothing for ${seconds} s`));
      };
      timer = setTimeout(silent, this.#idleMilliseconds);
    });
    try {
      const { value, done } = await Promise.race([this.#chunks.next(), silence]);
      if (done)
        throw failure('TargetUnreachable', `Redis at ${this.#peer} closed the connection in the middle of an answer`);
      return value;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Gives back what was read too far. */
  unread(bytes: Buffer): void {
    this.#rest = Buffer.concat([bytes, this.#rest]);
  }

  /** The next line without its end; newlines alone, which a server sends to keep the connection alive, are skipped. */
  async line(): Promise<string> {
    let line: Buffer = Buffer.alloc(0);
    for (;;) {
      const chunk = await this.chunk();
      const end = chunk.indexOf(0x0a);
      line = Buffer.concat([line, end < 0 ? chunk : chunk.subarray(0, end)]);
      if (line.length > 64 * 1024)
        throw failure('TargetUnreachable', `${this.#peer} does not speak the Redis protocol`);
      if (end < 0) continue;
      this.unread(chunk.subarray(end + 1));
      const text = line.toString('latin1').replace(/\r$/, '');
      if (text !== '') return text;
      line = Buffer.alloc(0);
    }
  }
}
