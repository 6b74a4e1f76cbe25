import * as fs from 'node:fs';
import { parse, stringify } from 'yaml';
import { ALERTS } from '../../core/monitoring/policy';
import { workflowIds } from '../../core/names';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { POSTGRES_ROLES } from '../../lab/sites/postgresql';
import { type E2eLab, keysOf, waitUntil } from './e2e-lab';

/** What is done to a lab so that an alert fires, and undone again. */
export const APP = 'ultramarket';
export const COPIED = 'configuration';
/** So old is a backup or a copy, what is not archived, or a recovery too old here. */
export const OLD_SECONDS = 45;
const PROVEN_SECONDS = 8 * OLD_SECONDS;
/** A scrape that is missed tells nobody anything. */
const LASTS = '10s';
export const ORDERS = 'orders-db';
export const ARCHIVER = workflowIds.archive(APP, ORDERS);
/** Longer than any of it takes on a machine that is busy with other things. */
export const PATIENT_MILLISECONDS = 600_000;

/** What people set for hours, in the config as they do: in seconds. No schedule may mend or change anything meanwhile. */
export function shortenTimes(file: string): void {
  const config = parse(fs.readFileSync(file, 'utf8')) as Record<string, Record<string, unknown>>;
  const soon = Object.fromEntries(ALERTS.map((name) => [name, { for: LASTS, severity: 'critical' }]));
  config['alerts'] = { ...soon, backupDelayed: { olderThan: '24h', for: LASTS, severity: 'warning' } };
  config['monitoring'] = {
    backupMaxAge: '25h',
    proofMaxAge: `${PROVEN_SECONDS}s`,
    stores: { application: { backupMaxAge: `${OLD_SECONDS}s` }, configuration: { backupMaxAge: '8d' } },
  };
  config['dashboard'] = { recoveryTime: `${OLD_SECONDS}s` };
  config['metrics'] = { prometheus: { ...(config['metrics']!['prometheus'] as object), intervalSeconds: 10 } };
  config['copies'] = { offsite: { stores: [COPIED], maxLag: `${OLD_SECONDS}s` } };
  config['schedules'] = { timezone: 'UTC', runs: {} };
  (config['stores']![ORDERS] as Record<string, unknown>)['rpo'] = `${OLD_SECONDS}s`;
  fs.writeFileSync(file, stringify(config));
}

export const startFollowers = (e2e: E2eLab) => e2e.ask('schedules', 'apply');
export const end = (e2e: E2eLab, workflowId: string) => e2e.handle(workflowId).terminate('the cause of an alert');
/** A look at the readiness. */
export const LOOK = ['plan', 'failover', '--dry-run'];

/** On a machine that is busy with other things a look may find that a server answers too late. */
export async function untilReady(e2e: E2eLab): Promise<void> {
  const isReady = async () => (await e2e.drctl(LOOK)).exitCode === 0;
  await waitUntil('the DR site being ready', isReady, { deadlineMs: PATIENT_MILLISECONDS, intervalMs: 2_000 });
}

export async function fails(e2e: E2eLab, ...args: readonly string[]): Promise<void> {
  const { exitCode, out } = await e2e.drctl(args);
  if (exitCode === 0) throw new Error(`drctl ${args.join(' ')} should have failed:\n${out}`);
}

async function runs(e2e: E2eLab, type: string): Promise<boolean> {
  const query = `WorkflowType = '${type}' AND ExecutionStatus = 'Running'`;
  for await (const _ of e2e.client.workflow.list({ query })) return true;
  return false;
}

export interface Kept {
  readonly key: string;
  readonly bytes: Buffer;
  readonly metadata: Readonly<Record<string, string>>;
}

async function kept(e2e: E2eLab, key: string): Promise<Kept> {
  return { key, bytes: await e2e.cloud.read(key), metadata: (await e2e.cloud.head(key))?.metadata ?? {} };
}

/** Everything below a prefix, which is deleted. */
export async function takenAway(e2e: E2eLab, prefix: string): Promise<Kept[]> {
  const away: Kept[] = [];
  for (const key of await keysOf(e2e.cloud, prefix)) away.push(await kept(e2e, key));
  await e2e.cloud.delete(away.map(({ key }) => key));
  return away;
}

export const putBack = (e2e: E2eLab, { key, bytes, metadata }: Kept) => e2e.cloud.put(key, bytes, { metadata });

/** An object with other bytes, and the object as it was. */
export function replaced(e2e: E2eLab, which: () => Promise<string>, change: (bytes: Buffer) => Buffer) {
  let before: Kept;
  return {
    async cause(): Promise<void> {
      before = await kept(e2e, await which());
      await putBack(e2e, { ...before, bytes: change(before.bytes) });
    },
    cure: () => putBack(e2e, before),
  };
}

export const endOverwritten = (bytes: Buffer) => Buffer.concat([bytes.subarray(0, -9), Buffer.alloc(9)]);

export async function newest(e2e: E2eLab, prefix: string, pattern: RegExp): Promise<string> {
  const key = (await keysOf(e2e.cloud, prefix))
    .filter((each) => pattern.test(each))
    .toSorted()
    .at(-1);
  if (key === undefined) throw new Error(`nothing below ${prefix} looks like ${pattern}`);
  return key;
}

/** As its administrator; answers the rows of the last statement. */
export function atPrimary(e2e: E2eLab, ...statements: readonly string[]): Promise<readonly unknown[]> {
  const { superuser } = POSTGRES_ROLES;
  const address = e2e.access.plan.sites.primary.postgresql;
  const login = { ...address, user: superuser.name, password: e2e.access.secrets.password(superuser.secret) };
  return inPostgres({ ...login, database: APP }, async (client) => {
    let rows: readonly unknown[] = [];
    for (const statement of statements) rows = (await client.query(statement)).rows as unknown[];
    return rows;
  });
}

export const passwordOfBackups = (e2e: E2eLab, password: string) =>
  atPrimary(e2e, `ALTER ROLE ${POSTGRES_ROLES.backup.name} PASSWORD '${password}'`);

/** Without its archiver the server takes a slot for used until it has seen that nobody reads it. */
export async function dropSlot(e2e: E2eLab): Promise<void> {
  // One that has hardly begun would make the slot again after its run was ended.
  const read = `SELECT FROM pg_replication_slots WHERE slot_name LIKE 'drctl%' AND active`;
  const reading = async () => (await atPrimary(e2e, read)).length > 0;
  await waitUntil('the slot being read', reading, { deadlineMs: PATIENT_MILLISECONDS, intervalMs: 500 });
  await end(e2e, ARCHIVER);
  const drop = `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name LIKE 'drctl%' AND NOT active`;
  const left = `SELECT slot_name FROM pg_replication_slots WHERE slot_name LIKE 'drctl%'`;
  const dropped = async () => (await atPrimary(e2e, drop, left)).length === 0;
  await waitUntil('the slot being dropped', dropped, { deadlineMs: PATIENT_MILLISECONDS, intervalMs: 500 });
}

/** Until the segment in which the archiver stopped is gone. */
export async function loseLog(e2e: E2eLab): Promise<void> {
  await dropSlot(e2e);
  const [segment] = await atPrimary(e2e, 'SELECT pg_walfile_name(pg_current_wal_lsn()) AS name');
  const { name } = segment as { name: string };
  await waitUntil(
    `the server having thrown ${name} away`,
    async () => {
      const rows = await atPrimary(
        e2e,
        'CREATE TABLE IF NOT EXISTS filler (n int)',
        'INSERT INTO filler VALUES (1)',
        'SELECT pg_switch_wal()',
        'CHECKPOINT',
        `SELECT FROM pg_ls_waldir() WHERE name = '${name}'`,
      );
      return rows.length === 0;
    },
    { deadlineMs: PATIENT_MILLISECONDS, intervalMs: 500 },
  );
}

/** The repository answers nothing until a run of this type, which `work` starts, has lasted so long. */
export async function hungWhile(e2e: E2eLab, type: string, seconds: number, work: () => Promise<unknown>) {
  await e2e.supervisor.signal('s3', 'SIGSTOP');
  const working = work();
  working.catch(() => undefined); // thrown below, once the repository answers again
  try {
    await waitUntil(`${type} running`, () => runs(e2e, type), { deadlineMs: PATIENT_MILLISECONDS, intervalMs: 250 });
    const until = Date.now() + seconds * 1_000;
    await waitUntil(`${seconds} s of it`, async () => Date.now() > until, { deadlineMs: 2_000 * seconds });
  } finally {
    await e2e.supervisor.signal('s3', 'SIGCONT');
  }
  await working;
}
