import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { projectRoot } from '../runtime/servers';
import { SITES } from './address-plan';
import type { LabBuild } from './build';

/** Starts drctl's worker of each site; it belongs to the site and dies with it. */
export async function startWorkers(build: LabBuild, config: string): Promise<void> {
  const program = path.join(projectRoot(), 'dist/workers/main.js');
  if (!fs.existsSync(program)) return;
  // The supervisor starts workers again before this `up` has written what is new in the config, such as the DNS zone's id:
  // those that have read another one are started anew.
  const LAB_CONFIG = createHash('sha256').update(fs.readFileSync(config)).digest('hex').slice(0, 12);
  for (const site of SITES) {
    const argv = [process.execPath, program, '--config', config, '--site', site];
    await build.supervisor.register({
      name: `worker-${site}`,
      site,
      kind: 'worker',
      argv,
      env: { LAB_CONFIG },
      cwd: build.folder,
      restart: true,
    });
  }
  build.progress('drctl workers of both sites are started');
}
