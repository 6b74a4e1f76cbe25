import { failure } from '../../../core/errors';
import { formatLsn } from './lsn';
import type { ReplicationConnection } from './replication-connection';
import type { WalCollector } from './wal-collector';

/** A third of the default wal_sender_timeout is soon enough for the server to keep the connection. */
const STATUS_MILLISECONDS = 5_000;
/** Complete segments in memory before the server is made to wait. */
const BACKLOG_SEGMENTS = 2;
/**
 * A slot over its limit is taken from its reader before a checkpoint ends, and a sender whose reader takes nothing cannot be
 * ended (seen with 18.6: the checkpointer waited as long as the reader was still). So a reader that is held up for this long
 * lets go: what was not stored is sent again.
 */
const HELD_UP_MILLISECONDS = 60_000;
/** PostgreSQL counts microseconds from 2000-01-01. */
const EPOCH_2000_MILLISECONDS = Date.UTC(2000, 0, 1);

/**
 * Receives WAL of one timeline into a collector and confirms what `durable` says, never more: the server may remove what was
 * confirmed. `ended` resolves when the server has sent all of a timeline that has a successor.
 */
export class WalStream {
  readonly ended: Promise<void>;
  private readonly connection: ReplicationConnection;
  private readonly collector: WalCollector;
  private readonly timer: NodeJS.Timeout;
  private durable: bigint;
  private paused: NodeJS.Timeout | null = null;
  private wake: () => void = () => undefined;

  constructor(
    connection: ReplicationConnection,
    collector: WalCollector,
    options: { readonly slot: string | null; readonly timeline: number; readonly durable: bigint },
  ) {
    this.connection = connection;
    this.collector = collector;
    this.durable = options.durable;
    const slot = options.slot === null ? '' : `SLOT ${options.slot} `;
    const command = `START_REPLICATION ${slot}PHYSICAL ${formatLsn(collector.received)} TIMELINE ${options.timeline}`;
    this.ended = connection
      .copyOut(command, (message) => this.take(message))
      .then(() => undefined)
      .finally(() => {
        clearInterval(this.timer);
        if (this.paused !== null) clearTimeout(this.paused);
        this.wake();
      });
    connection.onCopyDone(() => connection.finishCopy());
    this.timer = setInterval(() => this.sendStatus(), STATUS_MILLISECONDS);
  }

  /** What is durable in the repository now; told to the server at once. */
  confirm(durable: bigint): void {
    this.durable = durable;
    this.sendStatus();
    this.flow();
  }

  /** Resolves when a segment is complete, the stream ended, or the time is over. */
  async waitForSegment(milliseconds: number): Promise<void> {
    if (this.collector.backlog > 0) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    this.wake = () => undefined;
  }

  /** Messages of the streaming protocol: `w` is WAL, `k` a keepalive whose last byte asks for an answer. */
  private take(message: Buffer): void {
    if (message[0] === 0x77) {
      this.collector.add(message.readBigUInt64BE(1), message.subarray(25));
      this.flow();
      if (this.collector.backlog > 0) this.wake();
    } else if (message[0] === 0x6b && message[17] === 1) {
      this.sendStatus();
    }
  }

  private flow(): void {
    const full = this.collector.backlog >= BACKLOG_SEGMENTS;
    if (full && this.paused === null) {
      this.connection.pause();
      this.paused = setTimeout(() => this.letGo(), HELD_UP_MILLISECONDS);
    } else if (!full && this.paused !== null) {
      clearTimeout(this.paused);
      this.paused = null;
      this.connection.resume();
    }
  }

  private letGo(): void {
    const seconds = HELD_UP_MILLISECONDS / 1_000;
    this.connection.abandon(
      failure(
        'RepositoryUnavailable',
        `the repository took no segment of WAL for ${seconds} s; the server was let go`,
        {
          data: 'Nothing is lost while the slot keeps the WAL; it is asked for again.',
        },
      ),
    );
  }

  private sendStatus(): void {
    const message = Buffer.alloc(34);
    message[0] = 0x72;
    message.writeBigUInt64BE(this.durable, 1); // written
    message.writeBigUInt64BE(this.durable, 9); // flushed
    message.writeBigUInt64BE(0n, 17); // applied: nothing is, here
    message.writeBigUInt64BE(BigInt(Date.now() - EPOCH_2000_MILLISECONDS) * 1_000n, 25);
    this.connection.send(message);
  }
}
