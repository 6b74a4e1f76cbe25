import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { failure } from '../../../core/errors';
import { WalSession, type WalSource } from './wal-session';

/** A standby has one receiver; who tries passwords gets no further connection until one of these has ended. */
const MOST_CONNECTIONS = 4;

/** Offers the archived log to a standby as its primary would, at one address, for as long as it takes. */
export class WalServer {
  private readonly server: Server;
  private readonly sessions = new Set<WalSession>();
  /** Whether the standby has signed in. */
  welcomed = false;
  private problem: unknown = null;

  private constructor(source: Pick<WalSource, 'way' | 'serverVersion' | 'password' | 'tls' | 'read'>) {
    this.server = createServer((socket: Socket) => {
      const session = new WalSession(socket, {
        ...source,
        onWelcome: () => (this.welcomed = true),
        onProblem: (error) => (this.problem ??= error),
      });
      this.sessions.add(session);
      socket.once('close', () => this.sessions.delete(session));
    });
    this.server.maxConnections = MOST_CONNECTIONS;
  }

  static async listen(
    source: Pick<WalSource, 'way' | 'serverVersion' | 'password' | 'tls' | 'read'>,
    { host, port }: { readonly host: string; readonly port: number },
  ): Promise<WalServer> {
    const own = new WalServer(source);
    await new Promise<void>((resolve, reject) => {
      own.server.once('error', (error: Error) =>
        reject(
          failure('CatchUpIncomplete', `the archived log cannot be offered at ${host}:${port}: ${error.message}`, {
            cause: error,
          }),
        ),
      );
      own.server.listen({ host, port }, resolve);
    });
    return own;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Throws why log could not be read. */
  check(): void {
    if (this.problem !== null) throw this.problem;
  }

  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.server.close(() => resolve()));
    for (const session of this.sessions) session.close();
    await closed;
  }
}
