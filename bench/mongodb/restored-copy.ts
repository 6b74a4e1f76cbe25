import * as fs from 'node:fs';
import * as path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { MongoClient } from 'mongodb';
import { killTree } from '../../lab/servers/process-tree';
import { STORE } from '../product';

/** Short beside what a restore takes, and no load. */
const LOOK_MILLISECONDS = 50;

export function restoredUrl(host: string, port: number): string {
  return `mongodb://${host}:${port}/?directConnection=true`;
}

/** The moment (performance.now) at which a restored server takes writes as the set that drctl leaves. */
export async function whenOpen(url: string, signal: AbortSignal): Promise<number> {
  for (;;) {
    signal.throwIfAborted();
    try {
      const hello = await withServer(url, (client) => client.db('admin').command({ hello: 1 }));
      // Until then it is loaded as a server of its own.
      if (hello['isWritablePrimary'] === true && hello['setName'] === `restored-${STORE}`) return performance.now();
    } catch {
      // It does not run yet, or does not take connections yet.
    }
    await delay(LOOK_MILLISECONDS, undefined, { signal });
  }
}

export async function withServer<T>(url: string, use: (client: MongoClient) => Promise<T>): Promise<T> {
  const client = new MongoClient(url, { serverSelectionTimeoutMS: 2_000 });
  try {
    return await use(await client.connect());
  } finally {
    await client.close();
  }
}

/** Ends the server that drctl left in the folder, which outlives its worker on purpose, and removes everything. */
export async function removeRestored(folder: string): Promise<void> {
  if (!fs.existsSync(folder)) return;
  const files = fs.readdirSync(folder, { recursive: true, encoding: 'utf8' });
  for (const pidFile of files.filter((file) => path.basename(file) === 'mongod.pid')) {
    const pid = Number(fs.readFileSync(path.join(folder, pidFile), 'utf8'));
    if (pid > 0) await killTree(pid);
  }
  fs.rmSync(folder, { recursive: true, force: true });
}
