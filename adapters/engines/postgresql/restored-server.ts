import * as path from 'node:path';
import { Client } from 'pg';
import { failure } from '../../../core/errors';
import { RestoredServer } from '../restored-server';
import { useAndEnd } from './connection';
import { type Marker, type PlacePaths, readMarker } from './restore-place';

/** The server of a place. "Fast", with a shutdown checkpoint of full buffers, then "immediate", then killed. */
export function serverOf(paths: PlacePaths): RestoredServer {
  return new RestoredServer({
    workingDirectory: paths.data,
    recognises: (words) => words.includes(paths.data),
    pidFile: path.join(paths.data, 'postmaster.pid'),
    logFile: paths.log,
    stopSignals: [
      ['SIGINT', 15_000],
      ['SIGQUIT', 5_000],
      ['SIGKILL', 5_000],
    ],
  });
}

/** What a restore left in the place. Throws NotFound for any other directory. */
export async function restoredMarker(paths: PlacePaths): Promise<Marker> {
  const marker = await readMarker(paths.root);
  if (marker) return marker;
  throw failure('NotFound', `${paths.root} carries no mark of a PostgreSQL restore`);
}

export interface RestoredLogin {
  readonly port: number;
  readonly user: string;
  readonly database: string;
}

/** Runs `use` over the place's own socket. Errors of the driver come out as they are. */
export async function withRestored<T>(
  paths: PlacePaths,
  login: RestoredLogin,
  use: (client: Client) => Promise<T>,
  options: { readonly signal?: AbortSignal; readonly statementMilliseconds?: number } = {},
): Promise<T> {
  return useAndEnd(restoredClient(paths, login, options.statementMilliseconds), use, options.signal);
}

/** Over the place's own socket; not connected yet. */
export function restoredClient(
  paths: PlacePaths,
  { port, user, database }: RestoredLogin,
  statementMilliseconds = 15_000,
): Client {
  return new Client({
    host: paths.socket,
    port,
    user,
    database,
    password: '',
    application_name: 'drctl',
    connectionTimeoutMillis: 5_000,
    query_timeout: statementMilliseconds,
  });
}
