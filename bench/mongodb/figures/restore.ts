import * as fs from 'node:fs';
import * as path from 'node:path';
import type { RestoreStoresResult } from '../../../core/runs';
import { freeLoopbackPort } from '../../../lab/servers/loopback';
import { runToEnd } from '../../../lab/servers/process';
import { type Aim, figure, type Figure } from '../../figure';
import { sizeWords } from '../../parts';
import { STORE } from '../../product';
import { type MongoTools, TOOLS_MISSING } from '../peers/mongo-tools';
import type { Side } from '../product';
import { contentOf } from '../replica-set';
import { removeRestored, restoredUrl, whenOpen, withServer } from '../restored-copy';
import { startEmptyServer } from '../empty-server';
import type { Stand } from '../stand';

const AIM: Aim = { ratioAtMost: 1 };
const RESTORE_MILLISECONDS = 1_200_000;

/** From the command until the restored server takes writes, indexes and all; the content is compared after it. */
export async function restore(stand: Stand): Promise<Figure[]> {
  const { rig, rounds, say, tools } = stand;
  const side = await stand.mixed();
  const { set, product } = side;
  const content = await contentOf(set.client);
  await product.work();
  const { backupId } = await product.backUp('full');
  await product.rest();
  const archive = tools && (await tools.backUp(rig, set)).key;
  const seconds = { ours: [] as number[], verified: [] as number[], theirs: [] as number[] };
  for (let round = 1; round <= rounds; round += 1) {
    const mine = await restoreOurs(side, backupId, content, round);
    seconds.ours.push(mine.seconds);
    seconds.verified.push(mine.steps['verify'] ?? 0);
    if (tools && archive) seconds.theirs.push(await restoreTheirs(stand, tools, archive, content, round));
    const steps = Object.entries(mine.steps).map(([step, each]) => `${step} ${each.toFixed(1)}`);
    const peer = tools ? `, mongorestore ${seconds.theirs.at(-1)?.toFixed(1)} s` : '';
    say(`  restore, round ${round}: ours ${mine.seconds.toFixed(1)} s (${steps.join(', ')})${peer}`);
  }
  const what = `restore of ${sizeWords(stand.megabytes)} of mixed documents`;
  const peer = { name: 'download | zstd -d | mongorestore', values: seconds.theirs };
  return [
    figure({
      name: `${what}, command to a server that takes writes (drctl on MongoDB ${set.serverVersion})`,
      unit: 's',
      values: seconds.ours,
      ...(tools ? { peer, aim: AIM } : { note: `${TOOLS_MISSING}: there is nothing to compare it with` }),
    }),
    figure({
      name: 'every document of it read and fingerprinted after that (drctl; the peer has nothing like it)',
      unit: 's',
      values: seconds.verified,
    }),
  ];
}

async function restoreOurs({ product }: Side, backupId: string, content: string, round: number) {
  await product.work();
  await settled();
  const into = path.join(product.restoreFolder, `mixed-${round}`);
  const port = await freeLoopbackPort(product.restoreHost);
  const url = restoredUrl(product.restoreHost, port);
  const ending = new AbortController();
  try {
    const started = performance.now();
    const open = whenOpen(url, AbortSignal.any([ending.signal, AbortSignal.timeout(RESTORE_MILLISECONDS)]));
    const command = product.drctl<RestoreStoresResult>(
      ...['restore', STORE, '--to', backupId, '--into', into, '--port', `${port}`, '--yes'],
    );
    const [openAt, { restoreId }] = await Promise.all([open, command]);
    requireEqual(await withServer(url, contentOf), content, 'drctl');
    const steps = [...(await product.restoreSteps(restoreId))].map(
      ([step, { startedAt, endedAt }]) => [step, (endedAt - startedAt) / 1_000] as const,
    );
    return { seconds: (openAt - started) / 1_000, steps: Object.fromEntries(steps) as Record<string, number> };
  } finally {
    ending.abort();
    await removeRestored(into);
    await product.rest();
  }
}

async function restoreTheirs({ rig }: Stand, tools: MongoTools, key: string, content: string, round: number) {
  await settled();
  const folder = path.join(rig.folder, `mongorestore-${round}`);
  const started = performance.now();
  const server = await startEmptyServer(folder);
  try {
    await tools.restore(rig, key, server.url);
    const seconds = (performance.now() - started) / 1_000;
    requireEqual(await withServer(server.url, contentOf), content, 'mongorestore');
    return seconds;
  } finally {
    await server.kill();
    fs.rmSync(folder, { recursive: true, force: true });
  }
}

/** What earlier rounds left to be written must not be part of the next. */
async function settled(): Promise<void> {
  await runToEnd({ argv: ['sync'], cwd: '/' }, { deadlineMs: RESTORE_MILLISECONDS });
}

function requireEqual(found: string, wanted: string, whose: string): void {
  if (found !== wanted) throw new Error(`what ${whose} restored is not what was backed up: ${found}, not ${wanted}`);
}
