import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import Redis from 'ioredis';
import type { RestoreStoresResult } from '../../../core/runs';
import { killTree } from '../../../lab/servers/process-tree';
import { figure, type Figure } from '../../figure';
import { STORE } from '../../product';
import { sendCommands } from '../load';
import type { Side } from '../product';
import type { Stand } from '../stand';

const COMMANDS_PER_SECOND_AT_LEAST = 100_000;
const COMMANDS_AT_ONCE = 5_000;

/**
 * The replay of a point-in-time recovery: small commands behind a backup of nothing. It takes the steps `replay`, in which the
 * stream is fetched from S3 and written as an append-only file, and `open`, in which the server loads that.
 */
export async function replay(stand: Stand): Promise<Figure[]> {
  const { rounds, say, commands } = stand;
  const side = await stand.empty('replayed');
  const { server, product } = side;
  await product.work();
  await product.backUp('full');
  say(`  sending ${commands} commands`);
  for (let from = 0; from < commands; from += COMMANDS_AT_ONCE)
    await sendCommands(server.client, from, Math.min(commands, from + COMMANDS_AT_ONCE));
  const to = `${await server.newest()}`;
  await product.archivedTo(to);
  const content = await contentOf(server.client);
  await product.rest();
  const values: number[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    values.push(commands / (await replaySeconds(side, to, content, round)));
    say(`  replay, round ${round}: ${values.at(-1)?.toFixed(0)} commands/s`);
  }
  return [
    figure({
      name: `replay of ${commands} commands, from S3 until the server has loaded them (drctl on Redis ${server.serverVersion})`,
      unit: 'commands/s',
      values,
      aim: { valueAtLeast: COMMANDS_PER_SECOND_AT_LEAST },
    }),
  ];
}

async function replaySeconds({ server, product }: Side, to: string, content: string, round: number): Promise<number> {
  await product.work();
  const into = path.join(product.restoreFolder, `replay-${round}`);
  try {
    const { restoreId, stores } = await product.drctl<RestoreStoresResult>(
      ...['restore', STORE, '--to', `position:${to}`, '--into', into, '--yes'],
    );
    const address = stores[0]?.restored.address;
    const steps = await product.restoreSteps(restoreId);
    const [written, loaded] = [steps.get('replay'), steps.get('open')];
    if (!written || !loaded || !address) throw new Error('the restore tells nothing of its replay');
    const copy = new Redis({ ...address, password: server.password });
    const found = await contentOf(copy);
    copy.disconnect();
    if (found !== content) throw new Error(`what was replayed is not what is at the source: ${found}, not ${content}`);
    return (written.endedAt - written.startedAt + loaded.endedAt - loaded.startedAt) / 1_000;
  } finally {
    await removeRestored(into);
    await product.rest();
  }
}

/** Every key with what it holds, in the keys' order. */
async function contentOf(client: Redis): Promise<string> {
  const keys = (await client.keys('*')).toSorted();
  const digest = createHash('sha256');
  for (let from = 0; from < keys.length; from += COMMANDS_AT_ONCE) {
    const batch = client.pipeline();
    const some = keys.slice(from, from + COMMANDS_AT_ONCE);
    for (const key of some) {
      if (key.startsWith('session:')) batch.hgetall(key);
      else batch.get(key);
    }
    for (const [index, [error, value]] of ((await batch.exec()) ?? []).entries()) {
      if (error) throw error;
      const fields =
        typeof value === 'object' && value !== null
          ? Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
          : value;
      digest.update(JSON.stringify([some[index], fields]));
    }
  }
  return `${keys.length} keys, ${digest.digest('hex')}`;
}

/** Ends the server that drctl left in the folder, which outlives its worker on purpose, and removes everything. */
async function removeRestored(folder: string): Promise<void> {
  if (!fs.existsSync(folder)) return;
  const files = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const pidFile of files.filter((file) => file.endsWith('.pid'))) {
    const pid = Number.parseInt(fs.readFileSync(path.join(folder, pidFile), 'utf8'), 10);
    if (pid > 0) await killTree(pid);
  }
  fs.rmSync(folder, { recursive: true, force: true });
}
