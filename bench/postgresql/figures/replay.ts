import * as fs from 'node:fs';
import * as path from 'node:path';
import type { RestoreStoresResult } from '../../../core/runs';
import { freeLoopbackPort } from '../../../lab/servers/loopback';
import { postgresCommand } from '../../../lab/servers/postgresql';
import { inPostgres } from '../../../lab/servers/postgresql-client';
import { runToEnd, serverFile, serverFolder, waitUntil } from '../../../lab/servers/process';
import { RunningServer } from '../../../lab/servers/running-server';
import { type Aim, figure, type Figure } from '../../figure';
import { sizeWords } from '../../parts';
import type { Cluster } from '../cluster';
import { STORE } from '../../product';
import type { Side } from '../product';
import { loginAt, removeRestored } from '../restored-copy';
import type { Stand } from '../stand';

const AIM: Aim = { ratioAtLeast: 1 };
const SEGMENT_BYTES = 16 * 2 ** 20;
/** A gigabyte of log: enough that starting a server is a small part of it. */
const SEGMENTS = 64;
/** For a run with little data. */
const TRIAL_SEGMENTS = 8;
/** Of each of four clients, before some large rows are updated. */
const TRANSACTIONS_A_TURN = 1_500;
const BULK_MEGABYTES_A_TURN = 50;
const MILLISECONDS = 1_200_000;
const PEER = 'restore_command = cp of local segments, server started to target reached';
/** The same as drctl gives the servers that it restores. */
const SERVER_SETTINGS = {
  archive_mode: 'off',
  shared_buffers: '128MB',
  max_wal_size: '4GB',
  recovery_init_sync_method: 'syncfs',
};

interface Replayed {
  readonly segments: number;
  readonly seconds: number;
}

/**
 * The replay of a point-in-time recovery. Ours is the whole step, the log still in S3 when it begins; the peer has every
 * segment on the local disk already, which is as fast as it can be. The base and the target are the same.
 */
export async function replay(stand: Stand): Promise<Figure[]> {
  const { rounds, say } = stand;
  const side = await stand.small();
  const { cluster, product } = side;
  const local = await prepare(stand, side);
  const [ours, theirs]: [number[], number[]] = [[], []];
  let segments = 0;
  for (let round = 1; round <= rounds; round += 1) {
    await product.work();
    const mine = await replayOurs(side, local, round);
    await product.rest();
    const peer = await replayTheirs(stand, cluster, local, round);
    ours.push(mine.segments / mine.seconds);
    theirs.push(peer.segments / peer.seconds);
    segments = mine.segments;
    const words = ({ segments: count, seconds }: Replayed) => `${count} segments in ${seconds.toFixed(1)} s`;
    say(`  replay, round ${round}: ours ${words(mine)}, local cp ${words(peer)}`);
  }
  const what = `replay of ${segments} segments onto ${sizeWords(stand.smallMegabytes)}, fetched from S3 meanwhile`;
  return [
    figure({
      name: `${what} (drctl on PostgreSQL ${cluster.version.number})`,
      unit: 'segments/s',
      values: ours,
      peer: { name: PEER, values: theirs },
      aim: AIM,
    }),
  ];
}

interface Local {
  readonly base: string;
  readonly segments: string;
  /** Where the replay is to end. */
  readonly target: string;
}

/** A backup of ours and one for the peer, then log that goes to S3 and, by the server's own archiving, to a folder. */
async function prepare({ rig, megabytes, smallMegabytes, say }: Stand, { cluster, product }: Side): Promise<Local> {
  const folder = serverFolder(path.join(rig.folder, 'replay'));
  const local = { base: path.join(folder, 'base'), segments: serverFolder(path.join(folder, 'segments')) };
  await product.work();
  await product.backUp('full');
  cluster.archiveBy(`exec cp "$1" ${local.segments}/"$2"`);
  await runToEnd(
    {
      argv: [cluster.program('pg_basebackup'), '-w', '-D', local.base, '-X', 'none', '-c', 'fast'],
      env: cluster.environment,
      cwd: folder,
      unprivileged: true,
    },
    { deadlineMs: MILLISECONDS },
  );
  const wanted = megabytes > 1_000 ? SEGMENTS : TRIAL_SEGMENTS;
  say(`  writing ${wanted} segments of log`);
  const target = await writeLog(cluster, wanted, smallMegabytes);
  await product.archivedTo(target);
  await waitUntil(
    'the last segment being in the folder',
    async () =>
      fs.readdirSync(path.join(cluster.dataDir, 'pg_wal/archive_status')).every((file) => !file.endsWith('.ready')),
    { deadlineMs: MILLISECONDS },
  );
  cluster.archiveBy(null);
  await product.rest();
  return { ...local, target };
}

/** Small transactions everywhere and some large rows, as an application writes; answers a position behind them all. */
async function writeLog(cluster: Cluster, segments: number, megabytes: number): Promise<string> {
  const position = async () =>
    (
      await cluster.query<{ lsn: string; bytes: string }>(
        "SELECT pg_current_wal_lsn()::text AS lsn, (pg_current_wal_lsn() - '0/0'::pg_lsn)::text AS bytes",
      )
    )[0] ?? { lsn: '', bytes: '0' };
  const from = Number((await position()).bytes);
  // What is measured is the replay: nothing waits for the disk meanwhile.
  const env = { ...cluster.environment, PGOPTIONS: '-c synchronous_commit=off' };
  const argv = [cluster.program('pgbench'), '-n', '-c', '4', '-t', `${TRANSACTIONS_A_TURN}`, 'postgres'];
  const every = Math.max(1, Math.round(megabytes / BULK_MEGABYTES_A_TURN));
  for (let turn = 1; Number((await position()).bytes) - from < segments * SEGMENT_BYTES; turn += 1) {
    await runToEnd({ argv, env, cwd: '/' }, { deadlineMs: MILLISECONDS });
    await cluster.query('UPDATE bulk_rows SET digits = reverse(digits) WHERE id % $1 = $2', [every, turn % every]);
  }
  const { lsn } = await position();
  await cluster.query('SELECT pg_switch_wal()');
  return lsn;
}

async function replayOurs({ cluster, product }: Side, { target }: Local, round: number): Promise<Replayed> {
  const into = path.join(product.restoreFolder, `replay-${round}`);
  try {
    const { restoreId, stores } = await product.drctl<RestoreStoresResult>(
      ...['restore', STORE, '--to', `position:${target}`, '--into', into, '--yes'],
    );
    const step = (await product.restoreSteps(restoreId)).get('replay');
    const [restored] = stores;
    if (!step || !restored) throw new Error('the restore tells nothing of its replay');
    const log = path.join(restored.restored.directory, 'server.log');
    return { segments: copiedSegments(log), seconds: (step.endedAt - step.startedAt) / 1_000 };
  } finally {
    await removeRestored(into, cluster);
  }
}

async function replayTheirs({ rig }: Stand, cluster: Cluster, local: Local, round: number): Promise<Replayed> {
  const folder = serverFolder(path.join(rig.folder, `replay-peer-${round}`));
  const dataDir = path.join(folder, 'cluster');
  await runToEnd({ argv: ['cp', '-a', '--reflink=auto', local.base, dataDir], cwd: '/' }, { deadlineMs: MILLISECONDS });
  serverFile(path.join(dataDir, 'recovery.signal'), '');
  await runToEnd({ argv: ['sync'], cwd: '/' }, { deadlineMs: MILLISECONDS });
  const port = await freeLoopbackPort(cluster.host);
  const login = loginAt(cluster, port);
  const settings = {
    ...SERVER_SETTINGS,
    restore_command: `cp ${local.segments}/%f %p`,
    recovery_target_lsn: local.target,
    recovery_target_inclusive: 'off',
    recovery_target_action: 'pause',
  };
  const logFile = path.join(folder, 'server.log');
  const started = performance.now();
  const server = new RunningServer({
    name: 'the replaying server',
    command: postgresCommand({ dataDir, host: cluster.host, port, programs: cluster.version.programs, settings }),
    logFile,
    ready: () =>
      waitUntil(
        'the replay reaching its target',
        () =>
          inPostgres(login, async (client) => {
            const { rows } = await client.query("SELECT pg_get_wal_replay_pause_state() = 'paused' AS paused");
            return (rows[0] as { paused: boolean }).paused;
          }),
        { deadlineMs: MILLISECONDS },
      ),
  });
  try {
    await server.start();
    const seconds = (performance.now() - started) / 1_000;
    return { segments: copiedSegments(logFile), seconds };
  } finally {
    await server.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** The server names each segment that its restore_command gave it. */
function copiedSegments(logFile: string): number {
  return fs.readFileSync(logFile, 'utf8').match(/restored log file "[0-9A-F]{24}" from archive/g)?.length ?? 0;
}
