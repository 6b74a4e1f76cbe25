import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { BSON as Bson, type Document } from 'mongodb';
import { failure } from '../../../core/errors';

/** The greatest batch is 48 MB and is applied within seconds; a server that is silent for this long has hung. */
const REPLY_MILLISECONDS = 300_000;
const OP_MSG = 2013;
const HEADER_BYTES = 16;

/** Concatenated documents that travel beside the command, as the protocol's "document sequence". */
export interface DocumentSequence {
  readonly name: string;
  readonly documents: readonly Buffer[];
}

/**
 * A connection to a server that we started ourselves on a loopback address, speaking OP_MSG with raw BSON: the driver has no
 * way to send documents without decoding and encoding them, which is slow and puts integer-like keys first.
 */
export class WireConnection {
  private readonly socket: Socket;
  private received: Buffer[] = [];
  private receivedBytes = 0;
  private requestId = 0;
  private waiting: { resolve(reply: Buffer): void; reject(error: unknown): void } | null = null;
  /** Also of a connection that was lost between two commands: the next one would wait for its reply for ever. */
  private lost: Error | null = null;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.setTimeout(REPLY_MILLISECONDS, () => {
      // The timeout runs on idle connections too; only a reply that is awaited is overdue.
      if (this.waiting) socket.destroy(new Error(`no reply within ${REPLY_MILLISECONDS / 1_000} s`));
    });
    socket.on('data', (chunk: Buffer) => this.receive(chunk));
    socket.on('error', (error) => this.fail(error));
    socket.on('close', () => this.fail(new Error('the server closed the connection')));
  }

  static async open(address: { host: string; port: number }, signal: AbortSignal): Promise<WireConnection> {
    // Given a signal that is aborted already, `once` throws without listening, and the socket's error would end the process.
    signal.throwIfAborted();
    const socket = connect({ ...address, signal } as never);
    await once(socket, 'connect', { signal });
    return new WireConnection(socket);
  }

  /** One command at a time. `body` is the command with `$db`. Throws nothing for `ok: 0`: the caller reads the reply. */
  async command(body: Uint8Array, sequence?: DocumentSequence): Promise<Document> {
    const parts: Uint8Array[] = [Buffer.of(0), body];
    if (sequence) {
      const name = Buffer.from(`${sequence.name}\0`);
      const head = Buffer.alloc(5);
      head[0] = 1;
      head.writeInt32LE(4 + name.length + sequence.documents.reduce((sum, each) => sum + each.length, 0), 1);
      parts.push(head, name, ...sequence.documents);
    }
    const header = Buffer.alloc(HEADER_BYTES + 4);
    header.writeInt32LE(header.length + parts.reduce((sum, each) => sum + each.length, 0), 0);
    header.writeInt32LE(++this.requestId, 4);
    header.writeInt32LE(OP_MSG, 12);
    const reply = new Promise<Buffer>((resolve, reject) => (this.waiting = { resolve, reject }));
    if (this.lost) this.fail(this.lost);
    this.socket.cork();
    for (const part of [header, ...parts]) this.socket.write(part);
    this.socket.uncork();
    return Bson.deserialize((await reply).subarray(HEADER_BYTES + 5));
  }

  close(): void {
    this.socket.destroy();
  }

  private receive(chunk: Buffer): void {
    this.received.push(chunk);
    this.receivedBytes += chunk.length;
    if (this.receivedBytes < 4) return;
    const first = (this.received[0] as Buffer).length < 4 ? Buffer.concat(this.received) : (this.received[0] as Buffer);
    if (this.receivedBytes < first.readInt32LE(0)) return;
    const message = Buffer.concat(this.received);
    [this.received, this.receivedBytes] = [[], 0];
    const { waiting } = this;
    this.waiting = null;
    waiting?.resolve(message);
  }

  private fail(error: Error): void {
    this.lost ??= error;
    const { waiting } = this;
    this.waiting = null;
    waiting?.reject(
      failure('TargetUnreachable', `the restored MongoDB server does not answer: ${error.message}`, { cause: error }),
    );
  }
}
