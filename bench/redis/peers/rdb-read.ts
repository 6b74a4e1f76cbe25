import { pipeline } from 'node:stream/promises';
import { withFullSync } from '../../../adapters/engines/redis/full-sync';
import { Secret } from '../../../core/secret';

/** The RDB of a server to standard output. */
async function main(): Promise<void> {
  const { REDIS_HOST: host = '', REDIS_PORT: port, REDIS_PASSWORD: password = '' } = process.env;
  const endpoint = { host, port: Number(port), password: new Secret(password) };
  const ctx = {
    signal: new AbortController().signal,
    log: { debug() {}, info() {}, warn() {}, error() {} },
    progress() {},
  };
  await withFullSync(endpoint, ctx, ({ rdb }) => pipeline(rdb, process.stdout));
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error)}\n`);
  process.exitCode = 1;
});
