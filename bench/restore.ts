import * as fs from 'node:fs';
import * as path from 'node:path';
import type { RestoreStoresResult } from '../core/runs';
import { serverBinaries } from '../lab/runtime/servers';
import { isRoot, runToEnd } from '../lab/servers/process';
import { STORES } from '../lab/sites/build';
import type { Bench } from './bench';
import { figure } from './figure';
import { backUp, objectStage, prepare, shellBackup } from './backup';
import { type BenchLab, withLab } from './lab';
import { pipeline } from './pipeline';

const PEER = 'download | zstd -d | tar -x, no server started';

export const restore: Bench = {
  summary: 'a restore of 1 GB of PostgreSQL from S3 to a server that answers, against download | zstd -d | tar -x',
  async run({ rounds, say }) {
    return withLab(say, async (bench) => {
      await prepare(bench, say);
      const { backupId } = await backUp(bench);
      const { key } = await shellBackup(bench);
      const [ours, theirs]: [number[], number[]] = [[], []];
      for (let round = 1; round <= rounds; round += 1) {
        ours.push(await restoreOnce(bench, backupId, round));
        theirs.push(await shellRestore(bench, key, round));
        say(
          `  round ${round}: ours ${ours.at(-1)?.toFixed(1)} s, the pipeline ${theirs.at(-1)?.toFixed(1)} s to files`,
        );
      }
      return [
        figure({
          name: 'restore of 1 GB from S3, planned to a server whose every row was fingerprinted',
          unit: 's',
          values: ours,
          peer: { name: PEER, values: theirs },
        }),
      ];
    });
  },
};

/** Restores into a new folder, and removes server and folder. */
async function restoreOnce({ lab, drctl }: BenchLab, backupId: string, round: number): Promise<number> {
  const into = path.join(lab.folder, 'restore', `round-${round}`);
  const { stores, seconds } = await drctl<RestoreStoresResult>(
    ...['restore', STORES.postgresql, '--to', backupId, '--into', into, '--yes'],
  );
  const [restored] = stores;
  if (!restored?.restored.address) throw new Error('the restore left no server');
  await stopServer(into);
  fs.rmSync(into, { recursive: true, force: true });
  return seconds;
}

/** The restored server outlives its worker on purpose; a benchmark takes it away again. */
async function stopServer(into: string): Promise<void> {
  const dataDir = fs
    .readdirSync(into, { recursive: true, encoding: 'utf8' })
    .find((file) => path.basename(file) === 'postmaster.pid');
  if (dataDir === undefined) throw new Error(`no server runs in ${into}`);
  const folder = path.join(into, path.dirname(dataDir));
  const argv = [path.join(serverBinaries().postgresBin, 'pg_ctl'), 'stop', '-D', folder, '-m', 'immediate'];
  await runToEnd({ argv, cwd: '/', unprivileged: isRoot });
}

async function shellRestore(bench: BenchLab, key: string, round: number): Promise<number> {
  const folder = path.join(bench.lab.folder, 'restore', `peer-${round}`);
  fs.mkdirSync(folder, { recursive: true });
  const started = performance.now();
  await pipeline([
    objectStage(bench, 'get', key),
    { argv: ['zstd', '-d', '-q', '-c'] },
    { argv: ['tar', '-x', '-C', folder] },
  ]);
  const seconds = (performance.now() - started) / 1_000;
  fs.rmSync(folder, { recursive: true, force: true });
  return seconds;
}
