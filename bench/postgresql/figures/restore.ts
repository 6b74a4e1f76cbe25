import * as path from 'node:path';
import type { RestoreStoresResult } from '../../../core/runs';
import { freeLoopbackPort } from '../../../lab/servers/loopback';
import { postgresCommand } from '../../../lab/servers/postgresql';
import { runToEnd, serverFolder } from '../../../lab/servers/process';
import { RunningServer } from '../../../lab/servers/running-server';
import { type Aim, figure, type Figure, unmeasured } from '../../figure';
import { sizeWords } from '../../parts';
import { type Chain, ourChain, pgBackRestChain } from '../chain';
import { digestOf } from '../cluster';
import { STORE } from '../../product';
import type { Side } from '../product';
import { loginAt, removeRestored, whenWritable } from '../restored-copy';
import type { Stand } from '../stand';

const AIM: Aim = { ratioAtMost: 0.8 };
const INCREMENTALS = 3;
const RESTORE_MILLISECONDS = 1_200_000;
/** What drctl gives the servers that it restores: the peer's gets the same. */
const SERVER_SETTINGS = {
  archive_mode: 'off',
  shared_buffers: '128MB',
  max_wal_size: '4GB',
  recovery_init_sync_method: 'syncfs',
};

/** From the command until the restored server answers a query and takes writes; the rows are compared after it. */
export async function restore(stand: Stand): Promise<Figure[]> {
  const { megabytes, pgBackRestMissing: why, rounds, say } = stand;
  const what = `restore of full + ${INCREMENTALS} incrementals of ${sizeWords(megabytes)}`;
  const name = `${what}, command to a server that answers (drctl on PostgreSQL 18)`;
  if (why !== null) return [unmeasured({ name, unit: 's', peer: null, aim: AIM, why })];
  const [eighteen, fifteen] = [await stand.on18(), await stand.on15()];
  const pgBackRest = await stand.pgBackRest();
  const ours = await ofLength(await stand.ourChain(), () => ourChain(eighteen));
  const theirs = await ofLength(await stand.pgBackRestChain(), () => pgBackRestChain(fifteen, pgBackRest));
  const seconds = { ours: [] as number[], verified: [] as number[], theirs: [] as number[] };
  for (let round = 1; round <= rounds; round += 1) {
    const mine = await restoreOurs(eighteen, ours, round);
    seconds.ours.push(mine.seconds);
    seconds.verified.push(mine.fingerprintSeconds);
    seconds.theirs.push(await restoreTheirs(stand, fifteen, theirs, round));
    const [answers, peer] = [mine.seconds.toFixed(1), seconds.theirs.at(-1)?.toFixed(1)];
    const steps = Object.entries(mine.steps).map(([step, each]) => `${step} ${each.toFixed(1)}`);
    say(`  restore, round ${round}: ours ${answers} s (${steps.join(', ')}), ${pgBackRest.name} ${peer} s`);
  }
  const peer = { name: `${pgBackRest.name} on PostgreSQL ${stand.version15?.number}`, values: seconds.theirs };
  return [
    figure({ name, unit: 's', values: seconds.ours, peer, aim: AIM }),
    figure({
      name: `every row of it read and fingerprinted after that (drctl; the peer has nothing like it)`,
      unit: 's',
      values: seconds.verified,
    }),
  ];
}

async function ofLength(found: Chain, make: () => Promise<Chain>): Promise<Chain> {
  const chain = found.newest().incrementals > INCREMENTALS ? await make() : found;
  while (chain.newest().incrementals < INCREMENTALS) await chain.take();
  return chain;
}

async function restoreOurs({ cluster, product }: Side, chain: Chain, round: number) {
  await product.work();
  await settled();
  const into = path.join(product.restoreFolder, `chain-${round}`);
  const port = await freeLoopbackPort(product.restoreHost);
  const login = loginAt(cluster, port);
  const ending = new AbortController();
  const { id, digest } = chain.newest();
  try {
    const started = performance.now();
    const answers = whenWritable(login, AbortSignal.any([ending.signal, AbortSignal.timeout(RESTORE_MILLISECONDS)]));
    const command = product.drctl<RestoreStoresResult>(
      ...['restore', STORE, '--to', id, '--into', into, '--port', `${port}`, '--yes'],
    );
    const [answeredAt, { restoreId }] = await Promise.all([answers, command]);
    requireEqual(await digestOf(login), digest, 'drctl');
    const steps = await product.restoreSteps(restoreId);
    const each = [...steps].map(([step, { startedAt, endedAt }]) => [step, (endedAt - startedAt) / 1_000] as const);
    const named = Object.fromEntries(each);
    return { seconds: (answeredAt - started) / 1_000, fingerprintSeconds: named['verify'] ?? 0, steps: named };
  } finally {
    ending.abort();
    await removeRestored(into, cluster);
    await product.rest();
  }
}

async function restoreTheirs({ rig, pgBackRest }: Stand, { cluster }: Side, chain: Chain, round: number) {
  await settled();
  const peer = await pgBackRest();
  const folder = serverFolder(path.join(rig.folder, `pgbackrest-restore-${round}`));
  const dataDir = path.join(folder, 'cluster');
  const { id, digest } = chain.newest();
  const port = await freeLoopbackPort(cluster.host);
  const login = loginAt(cluster, port);
  const undo: (() => Promise<void>)[] = [
    () => runToEnd({ argv: ['rm', '-rf', folder], cwd: '/' }).then(() => undefined),
  ];
  try {
    const started = performance.now();
    await peer.restore(id, dataDir);
    let answeredAt = 0;
    const server = new RunningServer({
      name: 'what pgBackRest restored',
      command: postgresCommand({
        dataDir,
        host: cluster.host,
        port,
        programs: cluster.version.programs,
        settings: SERVER_SETTINGS,
      }),
      logFile: path.join(folder, 'server.log'),
      ready: async () => void (answeredAt = await whenWritable(login, AbortSignal.timeout(RESTORE_MILLISECONDS))),
    });
    undo.push(() => server.kill());
    await server.start();
    requireEqual(await digestOf(login), digest, peer.name);
    return (answeredAt - started) / 1_000;
  } finally {
    for (const each of undo.toReversed()) await each();
  }
}

/** What earlier rounds left to be written must not be part of the next. */
async function settled(): Promise<void> {
  await runToEnd({ argv: ['sync'], cwd: '/' }, { deadlineMs: RESTORE_MILLISECONDS });
}

function requireEqual(found: string, wanted: string, whose: string): void {
  if (found !== wanted) throw new Error(`what ${whose} restored is not what was backed up: ${found}, not ${wanted}`);
}
