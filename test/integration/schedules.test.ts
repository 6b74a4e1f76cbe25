import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client, Connection, ScheduleOverlapPolicy } from '@temporalio/client';
import { main } from '../../starters/main';
import type { ScheduleChange } from '../../starters/schedules';
import { recordingIo } from '../support/recording-io';
import { startTemporalDev, type TestServer, waitUntil } from '../support/servers';

const example = readFileSync('config/examples/ultramarket.yaml', 'utf8');

let temporal: TestServer;
let client: Client;
let connection: Connection;
let folder: string;
let configFile: string;

beforeAll(async () => {
  temporal = await startTemporalDev();
  connection = await Connection.connect({ address: `${temporal.host}:${temporal.port}` });
  client = new Client({ connection });
  folder = mkdtempSync(join(tmpdir(), 'drctl-schedules-'));
  configFile = join(folder, 'drctl.yaml');
  writeConfig((text) => text);
});

afterAll(async () => {
  await connection?.close();
  await temporal?.stop();
  rmSync(folder, { recursive: true, force: true });
});

function writeConfig(change: (text: string) => string): void {
  const text = example.replace('temporal.ultramarket.internal:7233', `${temporal.host}:${temporal.port}`);
  const changed = change(text);
  writeFileSync(configFile, changed);
}

async function drctl(...argv: string[]) {
  const io = recordingIo();
  const exitCode = await main([...argv, '--config', configFile], io);
  return { exitCode, io, text: io.text() };
}

async function apply(...flags: string[]): Promise<Record<string, ScheduleChange['change']>> {
  const { exitCode, io, text } = await drctl('schedules', 'apply', '--output', 'json', ...flags);
  if (exitCode !== 0) throw new Error(text);
  const changes = JSON.parse(io.outLines.join('\n')) as ScheduleChange[];
  return Object.fromEntries(changes.map(({ id, change }) => [id, change]));
}

const SCHEDULES = [
  ...['full', 'incremental', 'configuration', 'health', 'readiness', 'retention', 'verify', 'restore-test', 'drill'],
  'copies',
  ...['readiness-report', 'daily', 'weekly', 'monthly', 'quarterly'],
].map((name) => `ultramarket-${name}`);
const FOLLOWERS = [
  'archive:ultramarket:orders-db',
  'archive:ultramarket:catalog',
  'archive:ultramarket:sessions',
  'watch:ultramarket',
  'uptime:ultramarket',
];

const all = (change: ScheduleChange['change'], ids: readonly string[]) =>
  Object.fromEntries(ids.map((id) => [id, change]));

test('schedules follow the config: created, unchanged, changed, paused, triggered, removed', async () => {
  // A dry run says what would happen and does nothing.
  await expect(apply('--dry-run')).resolves.toEqual({ ...all('created', SCHEDULES), ...all('started', FOLLOWERS) });
  await expect(client.schedule.getHandle('ultramarket-full').describe()).rejects.toThrow(/not found/i);

  await expect(apply()).resolves.toEqual({ ...all('created', SCHEDULES), ...all('started', FOLLOWERS) });
  const full = await client.schedule.getHandle('ultramarket-full').describe();
  expect(full).toMatchObject({
    policies: { overlap: ScheduleOverlapPolicy.SKIP, catchupWindow: 3_600_000 },
    action: {
      workflowType: 'launchBackups',
      taskQueue: 'drctl',
      args: [
        {
          application: 'ultramarket',
          stores: ['orders-db', 'catalog', 'sessions', 'application'],
          type: 'full',
          reason: 'schedule full',
        },
      ],
    },
  });
  const [next] = full.info.nextActionTimes;
  expect(next?.toISOString()).toMatch(/T02:00:00/);
  const drill = await client.schedule.getHandle('ultramarket-drill').describe();
  expect(drill.info.nextActionTimes[0]?.toISOString()).toMatch(/-01T01:00:00/);
  const weekly = await client.schedule.getHandle('ultramarket-weekly').describe();
  expect(weekly.info.nextActionTimes[0]?.getUTCDay()).toBe(1);
  expect(weekly.action).toMatchObject({
    workflowType: 'workThroughChecklist',
    args: [{ application: 'ultramarket', period: 'weekly', requestedBy: 'schedule weekly' }],
  });

  // Idempotent.
  await expect(apply()).resolves.toEqual({ ...all('unchanged', SCHEDULES), ...all('running', FOLLOWERS) });

  // A difference is named with both values, and a paused schedule stays paused with its note.
  await drctl('schedules', 'pause', 'full', '--reason', 'migration');
  writeConfig((text) => text.replace("'0 2 * * *'", "'30 2 * * *'"));
  const dry = await drctl('schedules', 'apply', '--dry-run');
  expect(dry.text).toContain('cron: 0 2 * * * → 30 2 * * *');
  await expect(apply()).resolves.toMatchObject({ 'ultramarket-full': 'changed', 'ultramarket-drill': 'unchanged' });
  const paused = await client.schedule.getHandle('ultramarket-full').describe();
  expect(paused.state).toMatchObject({ paused: true, note: 'paused by dana: migration' });
  const listed = await drctl('schedules', 'list');
  expect(listed.text).toMatch(/full +paused +30 2 \* \* \* UTC/);
  await drctl('schedules', 'resume', 'full');
  expect((await client.schedule.getHandle('ultramarket-full').describe()).state.paused).toBe(false);

  // What somebody changed by hand is put back.
  await client.schedule.getHandle('ultramarket-health').update((found) => ({
    ...found,
    spec: { cronExpressions: ['0 12 * * *'] },
    action: { ...found.action, workflowType: found.action.workflowType },
  }));
  await expect(apply()).resolves.toMatchObject({ 'ultramarket-health': 'changed' });

  // Triggered: the workflow is started, waiting for a worker.
  await drctl('schedules', 'trigger', 'configuration');
  await waitUntil('the triggered backup', async () => {
    const { info } = await client.schedule.getHandle('ultramarket-configuration').describe();
    return info.numActionsTaken === 1;
  });

  // What left the config is removed; what belongs to another application stays, and a foreign one is not overwritten.
  await client.schedule.create({
    scheduleId: 'other-full',
    spec: { cronExpressions: ['0 0 * * *'] },
    action: { type: 'startWorkflow', workflowType: 'x', taskQueue: 'x' },
    memo: { drctlApplication: 'other' },
  });
  writeConfig((text) => text.replace(/    drill:\n(?: {6}.*\n)+/, ''));
  await expect(apply()).resolves.toMatchObject({ 'ultramarket-drill': 'removed', 'ultramarket-full': 'changed' });
  await expect(client.schedule.getHandle('ultramarket-drill').describe()).rejects.toThrow(/not found/i);
  await expect(client.schedule.getHandle('other-full').describe()).resolves.toBeDefined();

  await client.schedule.create({
    scheduleId: 'ultramarket-drill',
    spec: { cronExpressions: ['0 0 * * *'] },
    action: { type: 'startWorkflow', workflowType: 'x', taskQueue: 'x' },
  });
  writeConfig((text) => text);
  const refused = await drctl('schedules', 'apply');
  expect(refused.exitCode).toBe(40);
  expect(refused.text).toContain('was not made by drctl');
  await client.schedule.getHandle('ultramarket-drill').delete();

  // The archiver of a store that left the config is stopped.
  await waitUntil('the archivers in the listing', async () => {
    const found: string[] = [];
    for await (const { workflowId } of client.workflow.list({ query: "WorkflowType = 'archiveLog'" }))
      found.push(workflowId);
    return found.length === 3;
  });
  writeConfig((text) =>
    text
      .replace(/  catalog:\n(?: {4}.*\n|\n)+?(?=  sessions)/, '')
      .replace(/ +- \{ name: catalog, store: catalog \}\n/, '')
      .replace(/ +MONGODB_URL: .*\n/, '')
      .replaceAll('catalog, ', ''),
  );
  await expect(apply()).resolves.toMatchObject({
    'archive:ultramarket:catalog': 'stopped',
    'archive:ultramarket:orders-db': 'running',
  });
}, 120_000);

test('unknown names, schedules that were not applied and a Temporal that is down are told apart', async () => {
  expect((await drctl('schedules', 'pause', 'ful')).text).toMatch(/no schedule "ful".*there are: full, incremental/);
  writeConfig((text) => text.replace('application: ultramarket', 'application: elsewhere'));
  const absent = await drctl('schedules', 'trigger', 'full');
  expect(absent.exitCode).toBe(3);
  expect(absent.text).toContain('drctl schedules apply');
  expect((await drctl('schedules', 'list')).text).toMatch(/full +not applied/);
  writeConfig((text) => text.replace(`${temporal.host}:${temporal.port}`, '127.27.9.9:7233'));
  const down = await drctl('schedules', 'list');
  expect(down.exitCode).toBe(50);
  expect(down.text).toContain('Temporal at 127.27.9.9:7233 does not answer');
}, 60_000);
