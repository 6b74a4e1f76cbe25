import type { Client } from 'pg';
import { endQuietly, sqlState } from './connection';
import type { PlacePaths } from './restore-place';
import { type RestoredLogin, restoredClient } from './restored-server';

export interface ReplayState {
  readonly inRecovery: boolean;
  readonly paused: boolean | null;
  readonly lsn: string | null;
  readonly at: Date | null;
}

const STATE = `
  SELECT pg_is_in_recovery() AS "inRecovery",
         CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() = 'paused' END AS paused,
         pg_last_wal_replay_lsn()::text AS lsn, pg_last_xact_replay_timestamp() AS at`;

/**
 * Not ready yet, or ending while it is asked: that its process is gone is seen by the next look. 40001 and 57P04: what is
 * replayed wants our connection gone (Hot Standby, "Handling Query Conflicts").
 */
const PASSING_CODES = ['57P01', '57P02', '57P03', '57P04', '40001', 'ENOENT', 'ECONNREFUSED', 'ECONNRESET', 'EPIPE'];

/**
 * How far a server has replayed. It is asked many times a second, over one connection: each new one would be a process that
 * is forked and set up beside the replay. Replay ends the connection where it has to, and a new one is made.
 */
export class ReplayWatch {
  private readonly paths: PlacePaths;
  private readonly login: RestoredLogin;
  private client: Client | null = null;

  constructor(paths: PlacePaths, login: RestoredLogin) {
    this.paths = paths;
    this.login = login;
  }

  /** Null while the server does not take connections yet. */
  async look(): Promise<ReplayState | null> {
    try {
      this.client ??= await this.connected();
      return (await this.client.query<ReplayState>(STATE)).rows[0] as ReplayState;
    } catch (error) {
      await this.end();
      const code = sqlState(error) ?? (error as { code?: string }).code ?? '';
      if (PASSING_CODES.includes(code) || /Connection terminated|timeout|not queryable/.test(String(error)))
        return null;
      throw error;
    }
  }

  async end(): Promise<void> {
    const { client } = this;
    this.client = null;
    if (client) await endQuietly(client);
  }

  private async connected(): Promise<Client> {
    const client = restoredClient(this.paths, this.login);
    // Without a listener its loss between two questions would end the process; the next question reports it.
    client.on('error', () => undefined);
    try {
      await client.connect();
    } catch (error) {
      await endQuietly(client);
      throw error;
    }
    return client;
  }
}
