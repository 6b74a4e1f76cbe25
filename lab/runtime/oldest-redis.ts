import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { unpackedPackages } from './debian-packages';

/** The oldest Redis that is supported: Debian 12 has it. */
export const OLDEST_REDIS = '7.0';

/** With the libraries that only its packages bring. */
const PACKAGES = ['redis-server', 'redis-tools', 'libjemalloc2', 'liblzf1'];

/** Finds them beside itself: it is moved after it was written. */
const START = `#!/bin/sh
here="\${0%/*}/.."
LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu" exec "$here/usr/bin/redis-server" "$@"
`;

/** Where its program `redis-server` lies, out of Debian's packages; null where they cannot be had or are of another version. */
export function oldestRedis(): string | null {
  const folder = unpackedPackages(`redis-${OLDEST_REDIS}`, PACKAGES, (unpacked) => {
    fs.mkdirSync(path.join(unpacked, 'start'));
    fs.writeFileSync(path.join(unpacked, 'start/redis-server'), START, { mode: 0o755 });
  });
  if (folder === null) return null;
  const program = path.join(folder, 'start/redis-server');
  const { stdout } = spawnSync(program, ['--version'], { encoding: 'utf8', timeout: 10_000 });
  return stdout?.includes(`v=${OLDEST_REDIS}.`) ? program : null;
}
