import { once } from 'node:events';
import type { Socket } from 'node:net';
import { TLSSocket } from 'node:tls';
import { timingSafeEqual } from 'node:crypto';
import type { LogEntry } from '../../../core/log-archive';
import type { ArchivedWay, WayStretch } from './archived-way';
import * as answer from './backend-messages';
import { formatLsn, parseLsn } from './lsn';
import { readAhead } from './read-ahead';
import { historyName } from './timeline-history';

/** Requests that come instead of a startup message ("Message Formats", SSLRequest and GSSENCRequest). */
const SSL_REQUEST = 80_877_103;
const GSS_REQUEST = 80_877_104;
const PROTOCOL_3_0 = 196_608;
/** What a receiver sends is short: its name and password, commands of a line, where it is. */
const LONGEST_MESSAGE_BYTES = 64 * 1024;
/** As the server's own sender (walsender.c MAX_SEND_SIZE). */
const MESSAGE_BYTES = 128 * 1024;
/** A receiver gives up after `wal_receiver_timeout`, a minute unless it is set otherwise. */
const KEEPALIVE_MILLISECONDS = 5_000;

const START =
  /^START_REPLICATION\s+(?:SLOT\s+\S+\s+)?(?:PHYSICAL\s+)?(?<lsn>[0-9A-F]+\/[0-9A-F]+)(?:\s+TIMELINE\s+(?<timeline>\d+))?$/i;

export interface WalSource {
  readonly way: ArchivedWay;
  /** Of the server that asks, so that it is among equals. */
  readonly serverVersion: string;
  readonly password: string;
  readonly tls: { readonly key: Buffer; readonly cert: Buffer } | null;
  read(entry: LogEntry): Promise<Buffer>;
  /** The receiver has signed in. */
  onWelcome(): void;
  /** What could not be read; the connection ends with it. */
  onProblem(error: unknown): void;
}

/**
 * One connection of a standby's receiver, to whom this is a primary with the archived log for its WAL: who it is, which
 * timelines there are, and the bytes of one of them ("Streaming Replication Protocol"). It can write nothing.
 */
export class WalSession {
  private socket: Socket;
  private readonly source: WalSource;
  private input: Buffer = Buffer.alloc(0);
  private phase: 'starting' | 'signing in' | 'asking' | 'streaming' = 'starting';
  private keepalives: NodeJS.Timeout | null = null;
  /** The stretch whose successor the receiver is told of once it has ended its side of the copy. */
  private ended: WayStretch | null = null;

  constructor(socket: Socket, source: WalSource) {
    this.socket = socket;
    this.source = source;
    this.attach(socket);
  }

  close(): void {
    if (this.keepalives) clearInterval(this.keepalives);
    this.socket.destroy();
  }

  private attach(socket: Socket): void {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('error', () => this.close());
    socket.on('close', () => this.close());
    socket.on('data', (chunk: Buffer) => {
      this.input = Buffer.concat([this.input, chunk]);
      try {
        while (this.phase === 'starting' ? this.startup() : this.message());
      } catch (error) {
        this.source.onProblem(error);
        this.close();
      }
    });
  }

  /** Takes the next whole message off what came; null while there is none. */
  private next(headerBytes: 0 | 1): Buffer | null {
    if (this.input.length < headerBytes + 4) return null;
    const length = headerBytes + this.input.readUInt32BE(headerBytes);
    if (length > LONGEST_MESSAGE_BYTES || length < headerBytes + 4) {
      this.close();
      return null;
    }
    if (this.input.length < length) return null;
    const whole = this.input.subarray(0, length);
    this.input = this.input.subarray(length);
    return whole;
  }

  private startup(): boolean {
    const request = this.next(0);
    if (!request || request.length < 8) return false;
    const code = request.readUInt32BE(4);
    if (code === SSL_REQUEST && this.source.tls) return this.encrypt();
    if (code === SSL_REQUEST || code === GSS_REQUEST) {
      this.socket.write('N');
      return true;
    }
    if (code >>> 16 !== 3 || (this.source.tls && !(this.socket instanceof TLSSocket))) {
      this.refuse('08P01', 'this is no connection that the archived log is sent over');
      return false;
    }
    if (code !== PROTOCOL_3_0) this.socket.write(answer.negotiateProtocol());
    this.socket.write(answer.askForPassword());
    this.phase = 'signing in';
    return true;
  }

  private encrypt(): boolean {
    const plain = this.socket;
    plain.removeAllListeners();
    plain.write('S');
    // Whatever came behind the request came unencrypted and is not believed (CVE-2021-23214).
    this.input = Buffer.alloc(0);
    this.attach(new TLSSocket(plain, { isServer: true, ...this.source.tls }));
    return false;
  }

  private message(): boolean {
    const whole = this.next(1);
    if (!whole) return false;
    const [type, body] = [String.fromCharCode(whole[0] as number), whole.subarray(5)];
    if (type === 'X') this.close();
    else if (type === 'p' && this.phase === 'signing in') this.signIn(body);
    else if (type === 'Q' && this.phase === 'asking') this.command(textOf(body));
    else if (type === 'c' && this.ended) this.sayWhatFollows(this.ended);
    // 'd': where the receiver is, which is asked of the standby itself.
    return !this.socket.destroyed;
  }

  private signIn(given: Buffer): void {
    const wanted = Buffer.from(`${this.source.password}\0`);
    if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
      this.refuse('28P01', 'wrong password for the archived log');
      return;
    }
    this.phase = 'asking';
    this.socket.write(answer.welcome(this.source.serverVersion));
    this.source.onWelcome();
  }

  private command(text: string): void {
    const { way } = this.source;
    const history = /^TIMELINE_HISTORY\s+(\d+)$/i.exec(text)?.[1];
    const start = START.exec(text)?.groups;
    if (/^IDENTIFY_SYSTEM$/i.test(text)) {
      this.answerWith(
        answer.oneRow([
          ['systemid', answer.TEXT, way.systemId],
          ['timeline', answer.INT8, String(way.timeline)],
          ['xlogpos', answer.TEXT, formatLsn(way.reaches)],
          ['dbname', answer.TEXT, null],
        ]),
        'IDENTIFY_SYSTEM',
      );
    } else if (history) {
      const content = way.histories.get(Number(history));
      if (!content) return this.refuse('58P01', `the history file of timeline ${history} is not archived`);
      const row = answer.oneRow([
        ['filename', answer.TEXT, historyName(Number(history))],
        ['content', answer.TEXT, content],
      ]);
      this.answerWith(row, 'TIMELINE_HISTORY');
    } else if (start) {
      this.start(parseLsn(start['lsn'] as string), Number(start['timeline'] ?? way.timeline));
    } else if (/^CREATE_REPLICATION_SLOT\s/i.test(text)) {
      // `wal_receiver_create_temp_slot`: an archive keeps its log without.
      const columns = ['slot_name', 'consistent_point', 'snapshot_name', 'output_plugin'];
      const row = answer.oneRow(columns.map((name) => [name, answer.TEXT, ''] as const));
      this.answerWith(row, 'CREATE_REPLICATION_SLOT');
    } else {
      this.refuse('0A000', 'nothing but the archived log is to be had here');
    }
  }

  private answerWith(row: Buffer, tag: string): void {
    this.socket.write(Buffer.concat([row, answer.complete(tag), answer.readyForQuery()]));
  }

  private start(requested: bigint, timeline: number): void {
    const stretch = this.source.way.stretches.find((each) => each.timeline === timeline);
    if (!stretch) return this.refuse('58P01', `timeline ${timeline} does not lead to the end of the archived log`);
    if (requested > stretch.reaches)
      return this.refuse('58P01', `the archived log of timeline ${timeline} ends at ${formatLsn(stretch.reaches)}`);
    this.phase = 'streaming';
    this.socket.write(answer.copyBoth());
    this.stream(stretch, requested > stretch.from ? requested : stretch.from).catch((error: unknown) => {
      if (!this.socket.destroyed) this.source.onProblem(error);
      this.close();
    });
  }

  private async stream(stretch: WayStretch, from: bigint): Promise<void> {
    const { entries, reaches, until } = stretch;
    for await (const { lsn, bytes } of readAhead(entries, [from, reaches], (entry) => this.source.read(entry))) {
      for (let at = 0; at < bytes.length; at += MESSAGE_BYTES) {
        await this.send(answer.walData(lsn + BigInt(at), reaches, bytes.subarray(at, at + MESSAGE_BYTES)));
        if (this.socket.destroyed) return;
      }
    }
    if (until !== null && reaches >= until) {
      this.ended = stretch;
      this.socket.write(answer.copyDone());
      return;
    }
    this.keepalives = setInterval(() => this.socket.write(answer.keepalive(reaches)), KEEPALIVE_MILLISECONDS);
  }

  private async send(bytes: Buffer): Promise<void> {
    if (this.socket.write(bytes)) return;
    const over = new AbortController();
    const gone = () => over.abort();
    this.socket.once('close', gone);
    try {
      await once(this.socket, 'drain', { signal: over.signal });
    } catch (error) {
      if (!over.signal.aborted) throw error;
    } finally {
      this.socket.removeListener('close', gone);
    }
  }

  /** A server's answer to the end of a timeline: which one follows and from where (walsender.c StartReplication). */
  private sayWhatFollows(stretch: WayStretch): void {
    const { stretches } = this.source.way;
    const next = stretches[stretches.indexOf(stretch) + 1];
    this.ended = null;
    this.phase = 'asking';
    const row = answer.oneRow([
      ['next_tli', answer.INT8, String(next?.timeline ?? stretch.timeline)],
      ['next_tli_startpos', answer.TEXT, formatLsn(stretch.until ?? stretch.reaches)],
    ]);
    this.socket.write(Buffer.concat([row, answer.complete('START_STREAMING')]));
    this.socket.write(Buffer.concat([answer.complete('START_REPLICATION'), answer.readyForQuery()]));
  }

  private refuse(sqlState: string, words: string): void {
    this.socket.end(answer.refusal(sqlState, words));
  }
}

const textOf = (body: Buffer) =>
  body
    .subarray(0, body.indexOf(0) === -1 ? body.length : body.indexOf(0))
    .toString('utf8')
    .trim();
