import * as path from 'node:path';
import { Client } from 'pg';
import { RestoredServer } from '../restored-server';
import { useAndEnd } from './connection';
import type { PlacePaths } from './restore-place';

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

/** Runs `use` over the place's own socket. Errors of the driver come out as they are. */
export async function withRestored<T>(
  paths: PlacePaths,
  login: { readonly port: number; readonly user: string; readonly database: string },
  use: (client: Client) => Promise<T>,
  options: { readonly signal?: AbortSignal; readonly statementMilliseconds?: number } = {},
): Promise<T> {
  const { port, user, database } = login;
  const statementMilliseconds = options.statementMilliseconds ?? 15_000;
  const client = new Client({
    host: paths.socket,
    port,
    user,
    database,
    password: '',
    application_name: 'drctl',
    connectionTimeoutMillis: 5_000,
    query_timeout: statementMilliseconds,
  });
  return useAndEnd(client, use, options.signal);
}
