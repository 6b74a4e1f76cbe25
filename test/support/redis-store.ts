import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import Redis from 'ioredis';
import { createRedisEngine } from '../../adapters/engines/redis/engine';
import { serverOf } from '../../adapters/engines/redis/restored-server';
import { settings } from '../../adapters/engines/redis/settings';
import type { Manifest } from '../../core/catalog';
import type { LogArchive, LogNaming } from '../../core/log-archive';
import type { RecoveryTarget } from '../../core/recovery';
import { Secret } from '../../core/secret';
import { combinedSource, MemoryLogArchive, MemoryVolumes, takeBackup, testContext } from './engine-harness';
import { contentAt, contentOf, type ServerContent, SHORT_LIFE_MILLISECONDS } from './redis-workload';
import { type RedisFlavour, redisProgram, startRedis, waitUntil } from './servers';

type Server = Awaited<ReturnType<typeof startRedis>>;

const folders: string[] = [];
afterAll(async () => {
  for (const each of folders.filter((made) => fs.existsSync(made))) await (await serverOf(each)).stop();
  folders.forEach((each) => fs.rmSync(each, { recursive: true, force: true }));
});

function folder(): string {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-redis-log-'));
  folders.push(made);
  return made;
}

export const connect = ({ host, port, password }: { host: string; port: number; password: string }) => {
  const client = new Redis({ host, port, password, retryStrategy: () => null });
  client.on('error', () => undefined); // the command that runs says so
  return client;
};

interface StoreOptions {
  readonly flavour?: RedisFlavour;
  /** What each site's settings say besides, or otherwise. */
  readonly sites?: object;
  /** Left out: in memory. */
  readonly log?: (naming: LogNaming) => LogArchive;
}

/** A store with what is kept of it. */
export class Store {
  readonly engine;
  readonly log: LogArchive;
  readonly volumes = new Map<string, MemoryVolumes>();
  readonly backups: Manifest[] = [];
  readonly #password: string;

  constructor(servers: Record<string, Server>, { flavour = 'redis', sites: more = {}, log }: StoreOptions = {}) {
    const sites = Object.fromEntries(
      Object.entries(servers).map(([site, { host, port, password }]) => [
        site,
        { host, port, password: new Secret(password), ...more },
      ]),
    );
    this.#password = Object.values(servers)[0]!.password;
    this.engine = createRedisEngine({
      store: 'cache',
      settings: settings.parse({ sites, toolsDirectory: path.dirname(redisProgram(flavour)) }),
    });
    this.log = log?.(this.engine.log!.naming) ?? new MemoryLogArchive(this.engine.log!.naming);
  }

  async back(site = 'primary'): Promise<Manifest> {
    const { manifest } = await takeBackup(this.engine, site, this.volumes, this.backups);
    this.backups.push(manifest);
    return manifest;
  }

  plan(target: RecoveryTarget) {
    return this.engine.planRestore(target, { backups: this.backups, log: this.log }, testContext());
  }

  /** Restores, hands the opened copy over and removes it. */
  async restored<T>(target: RecoveryTarget, use: (client: Redis) => Promise<T>): Promise<T> {
    const plan = await this.plan(target);
    const chain = plan.chain.map((id) => this.backups.find(({ backupId }) => backupId === id) as Manifest);
    const directory = path.join(folder(), 'place');
    folders.push(directory);
    const place = { directory, host: '127.24.0.5', port: 0, osUser: null, overwrite: false };
    const request = { restoreId: 'r1', plan, chain, place };
    const { restore } = this.engine;
    await restore.rebuild(request, combinedSource(this.volumes), this.log, testContext());
    await restore.replay(request, this.log, testContext());
    const { address } = await restore.open(request, testContext());
    const client = connect({ ...address!, password: this.#password });
    try {
      return await use(client);
    } finally {
      client.disconnect();
      await restore.discard(place, testContext());
    }
  }
}

export const fieldOf = (info: string, name: string) => new RegExp(`^${name}:(\\S+)`, 'm').exec(info)?.[1] ?? '';
export const offsetOf = async (client: Redis) =>
  Number(fieldOf(await client.info('replication'), 'master_repl_offset'));
export const timeOf = async (client: Redis) => {
  const [seconds, microseconds] = await client.time();
  return Number(seconds) * 1_000 + Math.floor(Number(microseconds) / 1_000);
};
export const iso = (milliseconds: number) => new Date(milliseconds).toISOString();

/** A quiet moment of the workload: nothing was written between its first and its last millisecond. */
export interface Moment {
  readonly content: ServerContent;
  readonly offset: number;
  readonly at: number;
}

export async function momentOf(client: Redis, archiver: { reaches(at: number): Promise<void> }): Promise<Moment> {
  const [content, offset] = [await contentOf(client), await offsetOf(client)];
  await archiver.reaches(await timeOf(client));
  const at = await timeOf(client);
  await archiver.reaches(at);
  return { content, offset, at };
}

export async function expectContent(
  store: Store,
  target: RecoveryTarget,
  { content, at }: Moment,
  said: unknown,
): Promise<void> {
  // What lived only shortly has expired everywhere.
  await waitUntil('short lives to end', async () => Date.now() > at + SHORT_LIFE_MILLISECONDS + 100);
  const found = await store.restored(target, contentOf);
  const expected = contentAt(content, Date.now());
  expect({ said, functions: found.functions, keys: [...found.keys] }).toEqual({
    ...{ said, functions: expected.functions, keys: [...expected.keys] },
  });
}
