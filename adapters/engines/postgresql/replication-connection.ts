import { Client, type ClientConfig, Query, type QueryArrayResult } from 'pg';
import type { CallContext } from '../../../core/call';
import { hasCode } from '../../../core/errors';
import { addressOf, clientConfig, destroySocket, endQuietly, translate } from './connection';
import { messageSocket } from './message-socket';
import type { PostgresqlSite } from './settings';

/** pg's connection below the client: what the replication protocol needs and the driver's types leave out. */
interface WireConnection {
  readonly stream: { pause(): void; resume(): void };
  on(event: 'copyData', listener: (message: { chunk: Buffer }) => void): void;
  on(event: 'copyDone' | 'replicationStart', listener: () => void): void;
  once(event: 'replicationStart', listener: () => void): void;
  sendCopyFromChunk(chunk: Buffer): void;
  endCopyFrom(): void;
}

type Rows = readonly (readonly (string | null)[])[];

/**
 * A connection that speaks the replication protocol (PostgreSQL documentation, "Streaming Replication Protocol") with
 * nothing but the driver. One command at a time. Bytes handed to `onData` are valid only during the call: the driver
 * reuses its buffer.
 */
export class ReplicationConnection {
  private readonly client: Client;
  private readonly wire: WireConnection;
  private readonly where: string;
  private onData: ((chunk: Buffer) => void) | null = null;
  /** Set when a consumer failed in the middle of a copy: the command then fails with it. */
  private broken: unknown = null;

  private constructor(client: Client, where: string) {
    this.client = client;
    this.where = where;
    this.wire = (client as unknown as { connection: WireConnection }).connection;
  }

  /** Connects as the site's replication role; `signal` cuts the connection off at any moment. */
  static async open(site: PostgresqlSite, ctx: Pick<CallContext, 'signal'>): Promise<ReplicationConnection> {
    ctx.signal.throwIfAborted();
    const password = site.replicationPassword ?? site.password;
    const client = new Client({
      ...clientConfig(site),
      // A copy lasts as long as it lasts: the signal ends it, and the server's wal_sender_timeout a silent one.
      query_timeout: undefined,
      statement_timeout: undefined,
      user: site.replicationUser ?? site.user,
      password: () => password?.reveal() ?? '',
      replication: 'true',
      ...(site.tls ? {} : { stream: messageSocket }),
    } as ClientConfig & { replication: string });
    client.on('error', () => undefined); // the running command reports the loss
    const connection = new ReplicationConnection(client, addressOf(site));
    const cut = () => connection.destroy();
    ctx.signal.addEventListener('abort', cut, { once: true });
    try {
      await client.connect();
    } catch (error) {
      ctx.signal.throwIfAborted();
      throw translate(error, connection.where);
    }
    connection.wire.on('copyData', ({ chunk }) => connection.take(chunk));
    return connection;
  }

  /** Runs a command without a copy; rows as text. */
  async query(command: string): Promise<Rows> {
    return (await this.run(command)).at(-1) ?? [];
  }

  /** Runs a command that answers with a copy; the result sets around it in order. */
  async copyOut(command: string, onData: (chunk: Buffer) => void): Promise<readonly Rows[]> {
    this.onData = onData;
    try {
      return await this.run(command);
    } finally {
      this.onData = null;
    }
  }

  /** Runs a command that takes a copy; `write` hands over its bytes. */
  async copyIn(command: string, write: (send: (bytes: Buffer) => void) => Promise<void>): Promise<void> {
    const query = new Query(command) as Query & { handleCopyInResponse: () => void };
    const ended = new Promise<void>((resolve, reject) => {
      query.once('end', () => resolve());
      query.once('error', reject);
    });
    // The driver's own answer to a server that wants data is to refuse.
    const ready = new Promise<void>((resolve) => (query.handleCopyInResponse = resolve));
    this.client.query(query);
    try {
      await Promise.race([ready, ended]);
      await write((bytes) => this.wire.sendCopyFromChunk(bytes));
      this.wire.endCopyFrom();
      await ended;
    } catch (error) {
      throw translate(error, this.where);
    }
  }

  /** Sends one message into a copy that goes both ways. */
  send(message: Buffer): void {
    this.wire.sendCopyFromChunk(message);
  }

  /** Resolves when the server has accepted START_REPLICATION. */
  async replicationStarted(): Promise<void> {
    await new Promise<void>((resolve) => this.wire.once('replicationStart', resolve));
  }

  /** The server has ended its side of a copy that goes both ways, and waits for ours. */
  onCopyDone(listener: () => void): void {
    this.wire.on('copyDone', listener);
  }

  /** Ends our side of a copy that goes both ways. */
  finishCopy(): void {
    this.wire.endCopyFrom();
  }

  /** Backpressure: the server stops sending when the socket's buffers are full. */
  pause(): void {
    this.wire.stream.pause();
  }

  resume(): void {
    this.wire.stream.resume();
  }

  /** Notices and warnings of the server, as it worded them. */
  onNotice(listener: (notice: { severity: string; message: string; code: string }) => void): void {
    this.client.on('notice', (notice) =>
      listener({ severity: notice.severity ?? '', message: notice.message ?? '', code: notice.code ?? '' }),
    );
  }

  /** Fails the running command with this error and cuts the connection off. */
  abandon(error: unknown): void {
    this.broken ??= error;
    this.destroy();
  }

  destroy(): void {
    this.wire.stream.resume(); // a paused socket would not notice its own end
    destroySocket(this.client);
  }

  async close(): Promise<void> {
    this.wire.stream.resume();
    await endQuietly(this.client);
  }

  private take(chunk: Buffer): void {
    if (this.broken) return;
    try {
      this.onData?.(chunk);
    } catch (error) {
      this.abandon(error);
    }
  }

  private async run(command: string): Promise<Rows[]> {
    try {
      const results = (await this.client.query({ text: command, rowMode: 'array' })) as unknown as
        QueryArrayResult | QueryArrayResult[];
      // The driver turns int8 and the like into text already; everything else is text in this protocol.
      return (Array.isArray(results) ? results : [results]).map((each) =>
        each.rows.map((row) =>
          (row as unknown[]).map((value) => (value === null ? null : `${value as string | number}`)),
        ),
      );
    } catch (error) {
      if (this.broken) throw this.broken;
      throw translate(error, this.where);
    }
  }
}

/** The server has already removed what we asked for: a gap in our log. */
export function isWalGone(error: unknown): boolean {
  return hasCode(error, 'TargetUnreachable') && /has already been removed/.test(String(error));
}

/** The server has invalidated the slot: there is none to read by any more. Its WAL may be there all the same. */
export function isSlotLost(error: unknown): boolean {
  return (
    hasCode(error, 'TargetUnreachable') &&
    /can no longer access replication slot|can no longer get changes|invalidated/.test(String(error))
  );
}
