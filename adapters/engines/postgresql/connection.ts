import { readFileSync } from 'node:fs';
import { types } from 'node:util';
import { Client, type ClientConfig } from 'pg';
import { failure } from '../../../core/errors';
import type { PostgresqlSite } from './settings';

/** What servers show us as. */
export const APPLICATION_NAME = 'drctl';
/** A server that is up answers within this; a dead host must not hold a failover's probe for longer. */
const CONNECT_MILLISECONDS = 5_000;
/** Our own statements are small; fingerprints and promotions raise it for themselves. */
const STATEMENT_MILLISECONDS = 15_000;
/**
 * A host that lost its power says nothing any more, and who only receives would wait for the system's two hours. After this
 * much silence it is asked every second, and given up after ten questions (Node's own numbers).
 */
const KEEP_ALIVE_MILLISECONDS = 10_000;

export interface ConnectOptions {
  readonly database?: string;
  readonly statementMilliseconds?: number;
  readonly signal?: AbortSignal;
}

/** Where a connection goes, in words for messages. */
export function addressOf(site: { readonly host: string; readonly port: number }): string {
  return `PostgreSQL at ${site.host}:${site.port}`;
}

export function clientConfig(site: PostgresqlSite, options: ConnectOptions = {}): ClientConfig {
  const statementMilliseconds = options.statementMilliseconds ?? STATEMENT_MILLISECONDS;
  return {
    host: site.host,
    port: site.port,
    user: site.user,
    // pg would fall back to PGPASSWORD and ~/.pgpass of whoever runs the worker: an empty one says what the config says.
    password: () => site.password?.reveal() ?? '',
    database: options.database ?? site.database,
    application_name: APPLICATION_NAME,
    connectionTimeoutMillis: CONNECT_MILLISECONDS,
    keepAlive: true,
    keepAliveInitialDelayMillis: KEEP_ALIVE_MILLISECONDS,
    statement_timeout: statementMilliseconds,
    // The server enforces statement_timeout only while it lives; this ends the wait for one that does not answer any more.
    query_timeout: statementMilliseconds + 2_000,
    ...(site.tls ? { ssl: tlsOptions(site.tls) } : {}),
  };
}

/**
 * Runs `use` with a connection and closes it whatever happens, also when `signal` aborts. Errors of the server and the
 * network come out as errors of our table.
 */
export async function withClient<T>(
  site: PostgresqlSite,
  use: (client: Client) => Promise<T>,
  options: ConnectOptions = {},
): Promise<T> {
  const client = new Client(clientConfig(site, options));
  try {
    return await useAndEnd(client, use, options.signal);
  } catch (error) {
    throw translate(error, addressOf(site));
  }
}

/** Without translation of errors; for servers that are reached otherwise than by a site's settings. */
export async function useAndEnd<T>(
  client: Client,
  use: (client: Client) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  signal?.throwIfAborted();
  // Without a listener the loss of an idle connection would end the process; the next query reports it.
  client.on('error', () => undefined);
  const cut = () => destroySocket(client);
  signal?.addEventListener('abort', cut, { once: true });
  try {
    await client.connect();
    return await use(client);
  } catch (error) {
    signal?.throwIfAborted();
    throw error;
  } finally {
    signal?.removeEventListener('abort', cut);
    await endQuietly(client);
  }
}

/** Ends a connection that may be broken already: what was wanted of it is known, so that its end cannot fail anything. */
export async function endQuietly(client: Client): Promise<void> {
  const overdue = setTimeout(() => destroySocket(client), 1_000);
  await client.end().catch(() => undefined);
  clearTimeout(overdue);
}

export function destroySocket(client: Client): void {
  (client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
}

function tlsOptions(tls: NonNullable<PostgresqlSite['tls']>): NonNullable<ClientConfig['ssl']> {
  const read = (file: string | undefined) => (file === undefined ? undefined : readFileSync(file, 'utf8'));
  return {
    rejectUnauthorized: tls.rejectUnauthorized,
    ...(tls.caFile ? { ca: read(tls.caFile) } : {}),
    ...(tls.certFile ? { cert: read(tls.certFile) } : {}),
    ...(tls.keyFile ? { key: read(tls.keyFile) } : {}),
  };
}

export function sqlState(error: unknown): string | null {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === 'string' && /^[0-9A-Z]{5}$/.test(code) ? code : null;
}

/** Turns an error of the driver into one of our table. Errors of our table and aborts pass unchanged. */
export function translate(error: unknown, where: string): unknown {
  if (!types.isNativeError(error) || error.name === 'AbortError' || error.name === 'ApplicationFailure') return error;
  const state = sqlState(error);
  const why = error.message || (error as { code?: string }).code || 'no reason given';
  const context = { sqlState: state };
  // Class 28 is a refused login, 42501 a missing privilege (PostgreSQL, appendix A).
  if (state?.startsWith('28') || state === '42501' || /SASL|password must be/i.test(why)) {
    return failure('AccessDenied', `${where} refused us: ${why}`, { context, cause: error });
  }
  if (state === '3D000') {
    return failure('ConfigInvalid', `${where}: ${why}`, {
      next: "Correct the store's `database` in the config.",
      context,
      cause: error,
    });
  }
  if (state === 'XX001' || state === 'XX002') {
    return failure('BackupCorrupt', `${where} reports damaged data: ${why}`, {
      data: 'The source itself is damaged; earlier backups are not affected.',
      next: 'Find the damaged relation with pg_amcheck, and restore from a backup made before the damage.',
      context,
      cause: error,
    });
  }
  return failure('TargetUnreachable', `${where}: ${why}`, { context, cause: error });
}
