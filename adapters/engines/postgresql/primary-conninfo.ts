import { setTimeout as delay } from 'node:timers/promises';
import type { Client } from 'pg';
import { failure } from '../../../core/errors';
import { leadingTo } from './conninfo';

/** By this a standby's setting is known to be ours. */
const OURS = 'drctl_archive';
/** The setting as it was, in a place that libpq keeps to itself: a worker that dies leaves it to the next one. */
const BEFORE = /fallback_application_name='(?<before>[A-Za-z0-9+/=]*)'/;
const POLL_MILLISECONDS = 50;
/** A server that reads its configuration anew tells its processes within milliseconds. */
const RELOAD_MILLISECONDS = 5_000;

interface Setting {
  readonly value: string;
  /** Whether ALTER SYSTEM has set it, as `pg_basebackup -R` does too. */
  readonly bySystem: boolean;
}

/**
 * Makes a standby follow somebody else until `giveBackConninfo`. What it was stays in the new value, so that whoever finds it
 * can give it back. Repeatable. A running receiver is ended by it and a new one begins, without a restart (13 and newer).
 */
export async function borrowConninfo(client: Client, conninfo: string): Promise<void> {
  const now = await readSetting(client);
  if (!now) {
    throw failure('AccessDenied', 'the account may not read primary_conninfo of the standby', {
      next: 'GRANT pg_monitor to it, then retry; or skip the step: what only the archive has is then not promoted.',
    });
  }
  const before = isOurs(now.value) ? beforeOf(now.value) : now.bySystem ? now.value : null;
  const kept = before === null ? '' : Buffer.from(before, 'utf8').toString('base64');
  await refuseToBeLogged(client, before ?? '');
  const ours = `${conninfo} application_name=${OURS} fallback_application_name='${kept}'`;
  await set(client, ours);
}

/** Whether the standby is told to follow its primary, and not us, from now on; false where that had not to be mended. */
export async function giveBackConninfo(client: Client): Promise<boolean> {
  const now = await readSetting(client);
  if (!now || !isOurs(now.value)) return false;
  await set(client, beforeOf(now.value));
  return true;
}

const isOurs = (value: string) => value.includes(`application_name=${OURS}`);

/** Null where it came from elsewhere than ALTER SYSTEM: without ours that is in force again. */
function beforeOf(value: string): string | null {
  const kept = BEFORE.exec(value)?.groups?.['before'] ?? '';
  return kept === '' ? null : Buffer.from(kept, 'base64').toString('utf8');
}

/** Null where the account may not see it. */
async function readSetting(client: Client): Promise<Setting | null> {
  const { rows } = await client.query(
    `SELECT setting AS value, coalesce(sourcefile, '') LIKE '%postgresql.auto.conf' AS "bySystem"
     FROM pg_settings WHERE name = 'primary_conninfo'`,
  );
  return (rows[0] as Setting | undefined) ?? null;
}

/** A server that logs such statements would log a password that stands in the setting. */
async function refuseToBeLogged(client: Client, before: string): Promise<void> {
  if (!/password\s*=/i.test(before)) return;
  const { rows } = await client.query(
    `SELECT current_setting('log_statement') IN ('ddl', 'mod', 'all') OR current_setting('log_min_duration_statement') = '0'
       AS logs`,
  );
  if (!(rows[0] as { logs: boolean }).logs) return;
  throw failure(
    'CatchUpIncomplete',
    'the standby logs every ALTER SYSTEM, and its primary_conninfo has a password, which would stand in the log',
    {
      next: 'Move the password to a passfile (or log_statement to none) and retry; or skip the step: what only the archive has is then not promoted.',
    },
  );
}

async function set(client: Client, value: string | null): Promise<void> {
  await client.query(
    value === null
      ? 'ALTER SYSTEM RESET primary_conninfo'
      : `ALTER SYSTEM SET primary_conninfo = ${client.escapeLiteral(value)}`,
  );
  await client.query('SELECT pg_reload_conf()');
  const deadline = Date.now() + RELOAD_MILLISECONDS;
  for (;;) {
    const now = await readSetting(client);
    if (now && (value === null ? !isOurs(now.value) : now.value === value)) return;
    if (Date.now() > deadline) {
      throw failure('CatchUpIncomplete', 'the standby keeps another primary_conninfo than ALTER SYSTEM has set', {
        next: 'It stands on the command line of the server, or its configuration has an error (pg_file_settings): mend that and retry, or skip the step.',
      });
    }
    await delay(POLL_MILLISECONDS);
  }
}

/** Makes a standby follow that server from now on, as the user and with the options that it has. Repeatable. */
export async function pointTo(
  client: Client,
  primary: { readonly host: string; readonly port: number },
): Promise<void> {
  const now = await readSetting(client);
  if (!now)
    throw failure('AccessDenied', 'the account may not read primary_conninfo', { next: 'GRANT pg_monitor to it.' });
  const own = isOurs(now.value) ? (beforeOf(now.value) ?? '') : now.value;
  if (own.trim() === '') throw failure('RoleMismatch', 'it has no primary_conninfo that could be led elsewhere');
  const wanted = leadingTo(primary, own);
  if (wanted === now.value) return;
  await refuseToBeLogged(client, own);
  await set(client, wanted);
}
