import * as net from 'node:net';
import { Client } from 'pg';
import type { Survivors } from './history';
import { ACCOUNTS, CONNECT_MILLISECONDS, Refused, type Session, type TransferOrder } from './session';
import { inPostgres } from '../../../lab/servers/postgresql-client';

const SCHEMA = `
  CREATE TABLE bank_accounts (account int PRIMARY KEY, balance int NOT NULL CHECK (balance >= 0));
  CREATE TABLE bank_transfers (id uuid PRIMARY KEY, payer int NOT NULL, payee int NOT NULL, amount int NOT NULL);
  CREATE TABLE registers (register text PRIMARY KEY, value int NOT NULL);
  CREATE TABLE register_writes (number bigserial PRIMARY KEY, register text NOT NULL, value int NOT NULL);`;

/** SQLSTATE class 40: the transaction was rolled back; 25006: a standby or a fenced primary, which refuses writes. */
const CERTAINLY_NOT_COMMITTED = /^(40...|25006)$/;

export async function createBank(url: string): Promise<void> {
  await inPostgres(url, async (client) => {
    await client.query(SCHEMA);
    await client.query('INSERT INTO bank_accounts SELECT n - 1, b FROM unnest($1::int[]) WITH ORDINALITY AS t (b, n)', [
      ACCOUNTS,
    ]);
  });
}

export async function postgresqlSession(site: string, url: string): Promise<Session> {
  const socket = new net.Socket();
  const client = new Client({
    connectionString: url,
    connectionTimeoutMillis: CONNECT_MILLISECONDS,
    stream: () => socket,
  });
  // A connection that breaks rejects the query that runs on it; between queries the next one does.
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (error) {
    socket.destroy();
    throw new Refused(error, { broken: true });
  }

  /** Answers a position that the commit record lies beyond. */
  async function transaction(work: () => Promise<unknown>): Promise<number> {
    let position: number;
    try {
      await client.query('BEGIN');
      await work();
      const { rows } = await client.query<{ at: string }>(`SELECT pg_current_wal_insert_lsn() - '0/0' AS at`);
      position = Number(rows[0]?.at);
    } catch (error) {
      // Without COMMIT it is rolled back, by us or by the end of the connection.
      const rolledBack = await client.query('ROLLBACK').then(
        () => true,
        () => false,
      );
      throw new Refused(error, { broken: !rolledBack });
    }
    try {
      const { command } = await client.query('COMMIT');
      if (command !== 'COMMIT') throw new Refused(`COMMIT was answered by ${command}`);
    } catch (error) {
      const { code = '' } = error as { code?: string };
      throw CERTAINLY_NOT_COMMITTED.test(code) ? new Refused(error, { broken: true }) : error;
    }
    return position;
  }

  return {
    site,
    transfer: ({ id, from, to, amount }: TransferOrder) =>
      transaction(async () => {
        // One statement, so that all sessions lock the two accounts in the same order.
        await client.query(
          `UPDATE bank_accounts SET balance = balance + CASE account WHEN $1::int THEN -$3::int ELSE $3::int END
           WHERE account IN ($1::int, $2::int)`,
          [from, to, amount],
        );
        await client.query('INSERT INTO bank_transfers VALUES ($1, $2, $3, $4)', [id, from, to, amount]);
      }),
    async balances() {
      const { rows } = await client.query<{ balance: number }>('SELECT balance FROM bank_accounts ORDER BY account');
      return rows.map(({ balance }) => balance);
    },
    write: (register, value) =>
      transaction(async () => {
        await client.query(
          'INSERT INTO registers VALUES ($1, $2) ON CONFLICT (register) DO UPDATE SET value = excluded.value',
          [register, value],
        );
        await client.query('INSERT INTO register_writes (register, value) VALUES ($1, $2)', [register, value]);
      }),
    async read(register) {
      const sql = 'SELECT value FROM registers WHERE register = $1';
      return (await client.query<{ value: number }>(sql, [register])).rows[0]?.value ?? 0;
    },
    destroy: () => void socket.destroy(),
  };
}

export function postgresqlSurvivors(url: string): Promise<Survivors> {
  return inPostgres(url, async (client) => {
    await client.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    const all = async <T extends object>(sql: string) => (await client.query<T>(sql)).rows;
    const accounts = await all<{ balance: number }>('SELECT balance FROM bank_accounts ORDER BY account');
    const transfers = await all<TransferOrder>(
      'SELECT id, payer AS "from", payee AS "to", amount FROM bank_transfers ORDER BY id',
    );
    const writes = await all<{ register: string; all: number[] }>(
      'SELECT register, array_agg(value ORDER BY number) AS all FROM register_writes GROUP BY register',
    );
    return {
      balances: accounts.map(({ balance }) => balance),
      transfers,
      writes: Object.fromEntries(writes.map(({ register, all: values }) => [register, values])),
    };
  });
}
