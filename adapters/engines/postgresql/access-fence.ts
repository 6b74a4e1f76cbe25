import { setTimeout as delay } from 'node:timers/promises';
import { Client } from 'pg';
import { type AccessRule, fencedBy, ownRules, withFence, withoutFence } from './access-rules';
import { APPLICATION_NAME, clientConfig, sqlState, useAndEnd, withClient } from './connection';
import type { PostgresqlSite } from './settings';

/** Beside the file, as it was before the fence: the server writes in place, and may lose its power meanwhile. */
const KEPT = '.before-drctl-fence';
const POLL_MILLISECONDS = 100;
/** A reload reaches the postmaster, and a session that is told to end ends, within milliseconds. */
const EFFECT_MILLISECONDS = 2_000;
/** What may be waited for here: a failover is under way. */
const PATIENCE_SECONDS = 4;
const INSUFFICIENT_PRIVILEGE = '42501';
const INVALID_AUTHORIZATION = '28000';

/** Processes of the server that change no data of users by themselves; extensions and subscriptions have others. */
const OWN_PROCESSES = [
  'archiver',
  'autovacuum launcher',
  'autovacuum worker',
  'background writer',
  'checkpointer',
  'client backend',
  'io worker',
  'logical replication launcher',
  'parallel worker',
  'slotsync worker',
  'startup',
  'walreceiver',
  'walsender',
  'walsummarizer',
  'walwriter',
];

export interface Rejection {
  readonly proven: boolean;
  readonly how: string;
}

/** The epoch that has closed the door of this server; null where none did, or where our account may not look. */
export async function readAccessFence(client: Client): Promise<number | null> {
  return unlessForbidden(async () => fencedBy((await readRules(client)).content));
}

/**
 * How long the door has been closed already, in seconds. Ask before anything is reloaded: only a load of the file after its
 * last change counts, and the file's time is in whole seconds.
 */
export async function secondsClosed(client: Client): Promise<number> {
  if ((await readAccessFence(client)) === null) return 0;
  const asked = await unlessForbidden(() =>
    client.query(`
      SELECT CASE WHEN (pg_stat_file(current_setting('hba_file'))).modification + interval '1 second' <= pg_conf_load_time()
             THEN extract(epoch FROM clock_timestamp() - pg_conf_load_time())::float8 ELSE 0 END AS seconds`),
  );
  return asked === null ? 0 : (asked.rows[0] as { seconds: number }).seconds;
}

/**
 * Rejects everybody but our own account at the door (pg_hba.conf), ends every session and sees that none is left. Neither is
 * in the log that replicas follow, so the server that is promoted has nothing of it.
 *
 * A connection that was made before keeps the rules of then until it has signed in, for at most twice `authentication_timeout`
 * (postmaster.c: once for its first packet, once for the rest) and is not seen meanwhile. Before that time is over there is no proof.
 */
export async function rejectOthers(
  client: Client,
  site: PostgresqlSite,
  { epoch, closedFor }: { readonly epoch: number; readonly closedFor: number },
  signal: AbortSignal,
): Promise<Rejection> {
  const before = await unlessForbidden(() => readRules(client));
  const refused = before && (await unlessForbidden(() => closeDoor(client, before, epoch)));
  if (before === null || refused === null)
    return { proven: false, how: 'our account may not read and write pg_hba.conf' };
  const why =
    refused ||
    (await whoIsLetIn(client, site, before, signal)) ||
    (await foreignProcesses(client)) ||
    (await endOthers(client, signal)) ||
    (await waitForOthers(client, closedFor, signal));
  return why === ''
    ? { proven: true, how: 'nobody else is let in (pg_hba.conf) or connected' }
    : { proven: false, how: why };
}

/**
 * Opens the door again where it is closed. The caller has the configuration reloaded. A standby cannot write a file so: there it
 * stays until the promotion asks again.
 */
export async function admitOthers(client: Client): Promise<void> {
  const rules = await unlessForbidden(() => readRules(client));
  if (!rules || fencedBy(rules.content) === null) return;
  const { rows } = await client.query('SELECT pg_is_in_recovery() AS standby');
  if ((rows[0] as { standby: boolean }).standby) return;
  await writeFile(client, rules.file, withoutFence(rules.content));
}

/**
 * What would keep `rejectOthers` from a proof at this server today, and what to do about each: all that it reads is read,
 * nothing is written.
 */
export async function doorObstacles(client: Client): Promise<string[]> {
  const { rows } = await client.query(`
    SELECT session_user AS account, has_function_privilege('lo_export(oid, text)', 'EXECUTE') AS "mayWrite",
           has_function_privilege('pg_stat_file(text)', 'EXECUTE') AS "maySeeAge",
           2 * (SELECT setting::int FROM pg_settings WHERE name = 'authentication_timeout') AS "signingInSeconds"`);
  const { account, mayWrite, maySeeAge, signingInSeconds } = rows[0] as {
    account: string;
    mayWrite: boolean;
    maySeeAge: boolean;
    signingInSeconds: number;
  };
  const may = (what: string, grant: string) => `${account} may not ${what}: GRANT ${grant} TO ${account}`;
  const rights = 'docs/postgresql.md, "Fence by access rules", names the rights';
  const ours = await unlessForbidden(async () => {
    await readRules(client);
    return ourRules(client);
  });
  const foreign = await foreignProcesses(client);
  return [
    ...(ours === null ? [`${account} may not read pg_hba.conf and its rules: ${rights}`] : []),
    ...(typeof ours === 'string' ? [ours] : []),
    ...(mayWrite ? [] : [may('write pg_hba.conf', 'EXECUTE ON FUNCTION lo_export(oid, text)')]),
    ...(maySeeAge ? [] : [may('see the age of pg_hba.conf', 'EXECUTE ON FUNCTION pg_stat_file(text)')]),
    ...(foreign === '' ? [] : [foreign]),
    ...(signingInSeconds > PATIENCE_SECONDS
      ? [
          `authentication_timeout lets a proof take ${signingInSeconds} s: ALTER SYSTEM SET authentication_timeout = '2s'`,
        ]
      : []),
  ];
}

/** The rules that admit ourselves, or why they cannot be told. */
async function ourRules(client: Client): Promise<string[] | string> {
  const { rows } = await client.query('SELECT session_user AS "user", current_database() AS database');
  const rules = await client.query(
    `SELECT line_number, type, database, user_name, address, netmask, auth_method, options
     FROM pg_hba_file_rules WHERE error IS NULL ORDER BY line_number`,
  );
  const ours = ownRules(rules.rows as AccessRule[], rows[0] as { user: string; database: string });
  if (typeof ours === 'number') return `of line ${ours} of pg_hba.conf it is not clear whether it admits us`;
  return ours.some((rule) => rule.startsWith('host')) ? ours : 'no rule of pg_hba.conf itself admits us';
}

/** Answers why not, or nothing. */
async function closeDoor(client: Client, { file, content }: Rules, epoch: number): Promise<string> {
  if (fencedBy(content) !== epoch) {
    const ours = await ourRules(client);
    if (typeof ours === 'string') return ours;
    if (fencedBy(content) === null) await writeFile(client, `${file}${KEPT}`, content);
    await writeFile(client, file, withFence(content, epoch, ours));
    const wrong = await client.query('SELECT line_number FROM pg_hba_file_rules WHERE error IS NOT NULL LIMIT 1');
    if (wrong.rows.length > 0) {
      await writeFile(client, file, content);
      return `line ${(wrong.rows[0] as { line_number: number }).line_number} of pg_hba.conf would be wrong`;
    }
  }
  await client.query('SELECT pg_reload_conf()');
  return '';
}

interface Rules {
  readonly file: string;
  readonly content: string;
}

async function readRules(client: Client): Promise<Rules> {
  const { rows } = await client.query(
    `SELECT current_setting('hba_file') AS file, pg_read_binary_file(current_setting('hba_file')) AS bytes`,
  );
  const { file, bytes } = rows[0] as { file: string; bytes: Buffer };
  return { file, content: bytes.toString('latin1') }; // every byte comes back as it was
}

/** A large object is the one thing that the server writes to a file byte by byte; it goes again with the transaction. */
async function writeFile(client: Client, file: string, content: string): Promise<void> {
  await client.query('BEGIN');
  try {
    const made = await client.query('SELECT lo_from_bytea(0, $1) AS oid', [Buffer.from(content, 'latin1')]);
    // A statement of its own: what a statement makes is not in the snapshot that it reads with.
    await client.query('SELECT lo_export($1, $2)', [(made.rows[0] as { oid: number }).oid, file]);
  } finally {
    await client.query('ROLLBACK');
  }
}

async function unlessForbidden<T>(work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (sqlState(error) === INSUFFICIENT_PRIVILEGE) return null;
    throw error;
  }
}

/** Answers who else is let in, or that we are not (and opens the door again then), or nothing. */
async function whoIsLetIn(client: Client, site: PostgresqlSite, before: Rules, signal: AbortSignal): Promise<string> {
  if (!(await strangersAreRejected(site, signal))) return 'pg_hba.conf was closed, and others are still let in';
  try {
    await withClient(site, async () => undefined, { signal });
    return '';
  } catch (error) {
    signal.throwIfAborted();
    await writeFile(client, before.file, before.content);
    await client.query('SELECT pg_reload_conf()');
    return `pg_hba.conf would have shut us out as well, and was put back: ${(error as Error).message}`;
  }
}

/** A user that is not there is asked for before it is looked up: the answer is the rules' own. */
async function strangersAreRejected(site: PostgresqlSite, signal: AbortSignal): Promise<boolean> {
  const stranger = { ...site, user: 'drctl_nobody', password: undefined };
  for (const deadline = Date.now() + EFFECT_MILLISECONDS; Date.now() < deadline;) {
    try {
      await useAndEnd(new Client(clientConfig(stranger)), async () => undefined, signal);
    } catch (error) {
      // The name of the file is in the message in every language; an account that is not there has the same code.
      if (sqlState(error) === INVALID_AUTHORIZATION && /pg_hba\.conf/.test((error as Error).message)) return true;
      if (sqlState(error) === null) throw error;
    }
    await delay(POLL_MILLISECONDS, undefined, { signal });
  }
  return false;
}

/** What else may write, where we may see it, or nothing. */
async function foreignProcesses(client: Client): Promise<string> {
  const { rows } = await client.query(
    `SELECT pg_has_role(session_user, 'pg_read_all_stats', 'usage') AS sees,
       ARRAY(SELECT DISTINCT backend_type FROM pg_stat_activity WHERE backend_type <> ALL ($1) ORDER BY 1) AS types`,
    [OWN_PROCESSES],
  );
  const { sees, types } = rows[0] as { sees: boolean; types: string[] };
  if (!sees) return 'our account may not see the sessions of others (pg_read_all_stats)';
  return types.length === 0 ? '' : `it runs ${types.join(', ')}, which may write by itself`;
}

/** Answers who does not go, or nothing. Other work of ours is no danger, and comes back anyway. */
async function endOthers(client: Client, signal: AbortSignal): Promise<string> {
  for (const deadline = Date.now() + EFFECT_MILLISECONDS; ;) {
    const { rows } = await client.query(
      `SELECT pid, coalesce(usename, 'one that signs in') AS "user", application_name AS name FROM pg_stat_activity
       WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()
         AND (usename IS DISTINCT FROM session_user OR application_name <> $1)`,
      [APPLICATION_NAME],
    );
    const others = rows as { pid: number; user: string; name: string }[];
    if (others.length === 0) return '';
    if (Date.now() > deadline)
      return `sessions do not end: ${others.map(({ user, name }) => `${user} ${name}`).join(', ')}`;
    // One that is not ours to end (a superuser's) is seen again, and named in the end.
    for (const { pid } of others) await unlessForbidden(() => client.query('SELECT pg_terminate_backend($1)', [pid]));
    await delay(POLL_MILLISECONDS, undefined, { signal });
  }
}

async function waitForOthers(client: Client, closedFor: number, signal: AbortSignal): Promise<string> {
  const { rows } = await client.query(
    `SELECT 2 * setting::int AS seconds FROM pg_settings WHERE name = 'authentication_timeout'`,
  );
  const left = (rows[0] as { seconds: number }).seconds - closedFor;
  if (left > PATIENCE_SECONDS)
    return `who was signing in may still get in for ${Math.ceil(left)} s (authentication_timeout): try again then for a proof`;
  await delay(Math.max(0, left) * 1_000, undefined, { signal });
  return endOthers(client, signal);
}
