import { execFile } from 'node:child_process';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { projectRoot } from '../lab/runtime/servers';
import { freeLoopbackPort } from '../lab/servers/loopback';
import { waitUntil } from '../lab/servers/process';
import { RunningServer } from '../lab/servers/running-server';
import type { Bench, BenchContext } from './bench';
import { figure, type Figure } from './figure';
import { BACKUPS, fill, LOGGED_STORES, repositoryOf, SEGMENTS, STORES, writeConfig } from './monitoring-fixture';
import { type Rig, withRig } from './rig';

const AIM_STATUS_SECONDS = 2;
const AIM_SCRAPE_MILLISECONDS = 200;

/** A status takes seconds and a scrape milliseconds: each round takes several. */
const SCRAPES_A_ROUND = 20;

const run = promisify(execFile);

export const monitoring: Bench = {
  summary: `drctl status and a scrape of Prometheus with ${STORES} stores and ${BACKUPS} backups in S3`,
  run: (context) => withRig(context.say, (rig) => measure(rig, context)),
};

async function measure(rig: Rig, { rounds, say }: BenchContext): Promise<Figure[]> {
  const listen = `127.0.0.1:${await freeLoopbackPort('127.0.0.1')}`;
  const config = writeConfig(rig, listen);
  say(`writing ${BACKUPS} manifests and ${LOGGED_STORES * SEGMENTS} segments`);
  await fill(repositoryOf(rig));

  const [first, again] = [await statusSeconds(config), [] as number[]];
  for (let round = 0; round < rounds; round += 1) again.push(await statusSeconds(config));
  say(`  status: ${again.map((seconds) => `${seconds.toFixed(2)} s`).join(', ')}`);

  const startedAt = Date.now();
  const worker = startableWorker(rig, config, listen);
  rig.defer(() => worker.kill());
  await worker.start();
  await waitUntil('every backup being counted', async () => counted(await scrape(listen)) === BACKUPS, {
    deadlineMs: 900_000,
    intervalMs: 1_000,
  });
  const countedSeconds = (Date.now() - startedAt) / 1_000;
  const scrapes: number[] = [];
  for (let at = 0; at < rounds * SCRAPES_A_ROUND; at += 1) {
    const begun = performance.now();
    await scrape(listen);
    scrapes.push(performance.now() - begun);
  }
  await worker.kill();
  const restartedAt = Date.now();
  await worker.start();
  await waitUntil('the restarted worker telling the same', async () => counted(await scrape(listen)) === BACKUPS, {
    deadlineMs: 900_000,
    intervalMs: 250,
  });
  const restartSeconds = (Date.now() - restartedAt) / 1_000;
  const slowest = Math.max(...scrapes);
  return [
    figure({
      name: 'drctl status',
      unit: 's',
      values: again,
      aim: { valueAtMost: AIM_STATUS_SECONDS },
      note: `the first: ${first.toFixed(2)} s; a new process each time, the start of Node included`,
    }),
    figure({
      name: 'scrape',
      unit: 'ms',
      values: scrapes,
      aim: { valueAtMost: AIM_SCRAPE_MILLISECONDS },
      note: `the slowest of ${scrapes.length}: ${slowest.toFixed(0)} ms`,
    }),
    figure({
      name: 'first worker, until everything is counted',
      unit: 's',
      values: [countedSeconds],
      note: 'its start included; each manifest is read once',
    }),
    figure({
      name: 'restarted worker, until it tells the same',
      unit: 's',
      values: [restartSeconds],
      note: 'its start included',
    }),
  ];
}

async function statusSeconds(config: string): Promise<number> {
  const begun = performance.now();
  // As a person calls it, the start of Node and the look at the build included.
  const program = path.join(projectRoot(), 'drctl');
  const ended = await run(program, ['status', '--config', config, '--output', 'json'], {
    maxBuffer: 16 * 2 ** 20,
  }).catch((error: { code?: unknown; stdout: string }) => error);
  const seconds = (performance.now() - begun) / 1_000;
  const { stores } = JSON.parse(ended.stdout) as { stores: { status?: string; stateOf?: string; problem?: string }[] };
  const wrong = stores.filter(({ status, stateOf }) => status !== 'healthy' || !stateOf);
  if (stores.length !== STORES || wrong.length > 0)
    throw new Error(`status is not as filled: ${JSON.stringify(wrong[0])}`);
  return seconds;
}

/** Empty while the worker does not answer yet. */
async function scrape(listen: string): Promise<string> {
  return fetch(`http://${listen}/metrics`).then(
    (response) => response.text(),
    () => '',
  );
}

function counted(text: string): number {
  const values = [...text.matchAll(/^backup_success_total\{.*\} (\d+)$/gm)].map(([, value]) => Number(value));
  return values.reduce((sum, value) => sum + value, 0);
}

function startableWorker(rig: Rig, config: string, listen: string): RunningServer {
  const argv = [
    process.execPath,
    path.join(projectRoot(), 'dist/workers/main.js'),
    '--config',
    config,
    '--site',
    'primary',
  ];
  return new RunningServer({
    name: 'worker',
    command: { argv, cwd: rig.folder },
    logFile: path.join(rig.folder, 'worker.log'),
    ready: () =>
      waitUntil('the worker', async () => (await fetch(`http://${listen}/healthz`).catch(() => null))?.ok === true, {
        deadlineMs: 120_000,
      }),
  });
}
