import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { MongoClient } from 'mongodb';
import { labDestroy, type LabDescription, labDown, labStatus, labUp, supervisorOf } from '../../lab/lab';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { addressPlan } from '../../lab/sites/address-plan';
import { LabSecrets } from '../../lab/sites/lab-folder';
import { POSTGRES_ROLES } from '../../lab/sites/postgresql';
import { waitUntil } from '../support/servers';

jest.setTimeout(180_000);

const home = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-labs-'));
fs.chmodSync(home, 0o755); // servers that run as another user enter it
process.env['DRCTL_LAB_HOME'] = home;
const NAME = `test-${process.pid}`;
let lab: LabDescription;

beforeAll(async () => {
  lab = await labUp({ name: NAME });
});

afterAll(async () => {
  await labDestroy({ name: NAME });
  await labDestroy({ name: `${NAME}-b` });
  const left = processesUnder(home);
  if (left.length > 0) throw new Error(`the labs left processes: ${JSON.stringify(left)}`);
  fs.rmSync(home, { recursive: true, force: true });
});

test('everything runs, the shop answers, and the standby streams', async () => {
  const { running, processes, services } = await labStatus({ name: NAME });
  expect(running).toBe(true);
  expect(processes.filter(({ state }) => state !== 'running')).toEqual([]);
  expect(services['primary']?.map(({ readyReplicas }) => readyReplicas)).toEqual([1, 1, 1, 1, 1, 1]);
  expect(services['dr']?.map(({ desiredReplicas }) => desiredReplicas)).toEqual([0, 0, 0, 0, 0, 0]);
  expect((await fetch(`${gateway('primary')}/health`)).status).toBe(200);
  expect((await fetch(`${gateway('dr')}/health`)).status).toBe(503);
  expect(await query('primary', 'SELECT state FROM pg_stat_replication')).toEqual([{ state: 'streaming' }]);
  expect(await query('dr', 'SELECT pg_is_in_recovery() AS standby')).toEqual([{ standby: true }]);
});

test('secrets are readable by their owner only', () => {
  const folder = path.join(lab.folder, 'secrets');
  const open = fs.readdirSync(folder).filter((file) => (fs.statSync(path.join(folder, file)).mode & 0o077) !== 0);
  expect(open).toEqual([]);
});

test('a server that crashes is started again', async () => {
  const supervisor = supervisorOf(lab);
  const before = (await supervisor.processes()).find(({ name }) => name === 'redis-dr');
  process.kill(before?.pid ?? 0, 'SIGKILL');
  await waitUntil('Redis running again', async () => {
    const now = (await supervisor.processes()).find(({ name }) => name === 'redis-dr');
    return now?.state === 'running' && now.pid !== before?.pid && now.restarts === 1;
  });
  expect(before?.state).toBe('running');
});

test('a killed site is wholly down, MongoDB goes on with a leader elsewhere, and the site comes back when told', async () => {
  const supervisor = supervisorOf(lab);
  const killed = await supervisor.killSite('primary');
  expect(new Set(killed.map(({ state }) => state))).toEqual(new Set(['killed']));
  expect(killed.map(({ name }) => name)).toEqual(expect.arrayContaining(['postgresql-primary', 'gateway-primary']));
  await expect(fetch(`${gateway('primary')}/health`)).rejects.toThrow(/fetch failed/);
  await majorityWrite();
  await supervisor.startSite('primary');
  await waitUntil('the services of the site being ready', async () =>
    (await supervisor.services('primary')).every(({ readyReplicas }) => readyReplicas === 1),
  );
  expect((await fetch(`${gateway('primary')}/health`)).status).toBe(200);
});

test('a fence proves that every process is gone, outlives down and up, and only a newer epoch lifts it', async () => {
  const supervisor = supervisorOf(lab);
  const pids = (await supervisor.processes()).filter(({ store }) => store === 'orders-db').map(({ pid }) => pid);
  const evidence = await supervisor.fence('primary', 5);
  expect(evidence.processes.map(({ name }) => name)).toContain('postgresql-primary');
  expect(evidence.processes.every(({ gone }) => gone)).toBe(true);
  expect(alive(evidence.processes.map(({ pid }) => pid ?? 0))).toEqual([]);
  expect(pids).toContain(evidence.processes.find(({ name }) => name === 'postgresql-primary')?.pid);
  expect(await supervisor.fence('primary', 5)).toEqual(evidence);
  await expect(supervisor.fence('primary', 4)).rejects.toThrow('older');
  await expect(supervisor.start('postgresql-primary')).rejects.toThrow('fenced');
  await expect(supervisor.scale('primary', 'order', 2)).rejects.toThrow('fenced');

  await labDown({ name: NAME });
  expect(processesUnder(home)).toEqual([]);
  lab = await labUp({ name: NAME });
  const again = supervisorOf(lab);
  expect((await again.fenceOf('primary'))?.epoch).toBe(5);
  const states = (await again.processes()).filter(({ site, kind }) => site === 'primary' && kind === 'store');
  expect(new Set(states.map(({ state }) => state))).toEqual(new Set(['fenced']));

  await expect(again.unfence('primary', 4)).rejects.toThrow('older');
  await again.unfence('primary', 6);
  expect(await again.fenceOf('primary')).toBeNull();
  await again.startSite('primary');
  await waitUntil(
    'PostgreSQL at primary answering',
    async () => (await query('primary', 'SELECT 1 AS one')).length === 1,
  );
  expect(await query('primary', 'SELECT count(*)::int AS users FROM users')).toEqual([{ users: 50 }]);
});

test('a fence of one store leaves the others alone', async () => {
  const supervisor = supervisorOf(lab);
  await expect(supervisor.fence('dr', 7, ['no-such-store'])).rejects.toThrow('no-such-store');
  const { processes } = await supervisor.fence('dr', 7, ['orders-db']);
  expect(processes.map(({ name }) => name)).toEqual(['postgresql-dr']);
  const stores = (await supervisor.processes()).filter(({ site, kind }) => site === 'dr' && kind === 'store');
  const states = Object.fromEntries(stores.map(({ name, state }) => [name, state]));
  expect(states).toEqual({
    'postgresql-dr': 'fenced',
    'redis-dr': 'running',
    'mongodb-dr-1': 'running',
    'mongodb-dr-2': 'running',
  });
  await supervisor.unfence('dr', 7);
  await supervisor.startSite('dr');
});

test('services scale, and the gateway follows', async () => {
  const supervisor = supervisorOf(lab);
  const { generation } = await supervisor.scale('primary', 'product', 3);
  const areReady = async () => {
    const product = (await supervisor.services('primary')).find(({ name }) => name === 'product');
    return product?.readyReplicas === 3 && product.generation === generation;
  };
  // Three programs start: beside other suites that was seen to take more than half a minute.
  await waitUntil('three replicas ready', areReady, { deadlineMs: 50_000 });
  const upstreams = () =>
    JSON.parse(fs.readFileSync(path.join(lab.folder, 'primary/upstreams.json'), 'utf8')) as Record<string, string[]>;
  expect(upstreams()['product']).toHaveLength(3);
  await supervisor.scale('primary', 'product', 0);
  expect(upstreams()['product']).toEqual([]);
  expect((await fetch(`${gateway('primary')}/v2/products`)).status).toBe(503);
  await supervisor.scale('primary', 'product', 1);
});

test('the supervisor refuses who has no token', async () => {
  const response = await fetch(`${lab.supervisor.url}/processes`, { headers: { authorization: 'Bearer wrong' } });
  expect(response.status).toBe(401);
});

test('two labs run side by side, and one leaves nothing behind when its supervisor is killed', async () => {
  const other = await labUp({ name: `${NAME}-b` });
  expect(other.network).not.toBe(lab.network);
  await query('primary', "CREATE TABLE only_here AS SELECT 'a' AS lab");
  expect(await query('primary', "SELECT to_regclass('only_here') AS found", other)).toEqual([{ found: null }]);
  const { pid } = JSON.parse(fs.readFileSync(path.join(other.folder, 'supervisor/pids/supervisor.pid'), 'utf8')) as {
    pid: number;
  };
  process.kill(pid, 'SIGKILL');
  await waitUntil('its processes ending with it', async () => processesUnder(other.folder).length === 0);
  expect((await labStatus({ name: other.name })).running).toBe(false);
  await labDown({ name: other.name });
  expect((await labStatus({ name: NAME })).running).toBe(true);
  await labDestroy({ name: other.name });
  expect(fs.existsSync(other.folder)).toBe(false);
});

function gateway(site: 'primary' | 'dr'): string {
  const { host, port } = addressPlan(lab.network).sites[site].gateway;
  return `http://${host}:${port}`;
}

async function query(site: 'primary' | 'dr', sql: string, where = lab): Promise<unknown[]> {
  const { superuser } = POSTGRES_ROLES;
  const password = new LabSecrets(where.folder).password(superuser.secret);
  const server = addressPlan(where.network).sites[site].postgresql;
  const login = { user: superuser.name, password, database: 'ultramarket' };
  return inPostgres({ ...server, ...login }, async (client) => (await client.query(sql)).rows);
}

/** Waits for the election, then fails unless a majority takes the write. */
async function majorityWrite(): Promise<void> {
  const url = fs.readFileSync(path.join(lab.folder, 'secrets/url-mongodb-dr'), 'utf8').trim();
  const client = await new MongoClient(url, { serverSelectionTimeoutMS: 20_000 }).connect();
  try {
    const writeConcern = { w: 'majority' as const, wtimeoutMS: 10_000 };
    await client.db('ultramarket').collection('kept').insertOne({ n: 7 }, { writeConcern });
  } finally {
    await client.close();
  }
}

function alive(pids: readonly number[]): number[] {
  return pids.filter((pid) => fs.existsSync(`/proc/${pid}`));
}

/** The command lines of processes that work in or name the folder. */
function processesUnder(folder: string): string[] {
  const pids = fs.readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== `${process.pid}`);
  return pids.flatMap((pid) => {
    try {
      const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
      const uses = command.includes(folder) || fs.readlinkSync(`/proc/${pid}/cwd`).startsWith(folder);
      return uses ? [command] : [];
    } catch {
      return []; // it ended while we looked
    }
  });
}
