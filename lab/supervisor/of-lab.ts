import { spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { projectRoot } from '../runtime/servers';
import { waitUntil } from '../servers/process';
import { isAlive, killTree } from '../servers/process-tree';
import { addressPlan } from '../sites/address-plan';
import type { LabDescription, LabSecrets } from '../sites/lab-folder';
import { SupervisorClient } from './client';
import { leftovers } from './pid-files';

/** The supervisor of a lab, for whoever kills sites, fences and scales. */
export function supervisorOf({ supervisor }: LabDescription): SupervisorClient {
  return new SupervisorClient(supervisor.url, fs.readFileSync(supervisor.tokenFile, 'utf8').trim());
}

/** The file with the password that its API asks for; written where it is not there. */
export function supervisorToken(secrets: LabSecrets): string {
  const name = 'supervisor-token';
  secrets.password(name);
  return secrets.file(name);
}

/** The supervisor outlives this command; it is the only process of the lab that does so on its own. */
export async function startSupervisor(
  lab: LabDescription,
  secrets: LabSecrets,
  progress: (line: string) => void,
): Promise<void> {
  if (!supervisorRuns(lab)) {
    await endLeftovers(lab);
    const { host, port } = addressPlan(lab.network).supervisor;
    const log = fs.openSync(path.join(lab.folder, 'supervisor.log'), 'a');
    const { PATH = '', NODE_COMPILE_CACHE } = process.env;
    const env = {
      PATH,
      ...(NODE_COMPILE_CACHE ? { NODE_COMPILE_CACHE } : {}),
      SUPERVISOR_FOLDER: supervisorFolder(lab),
      SUPERVISOR_HOST: host,
      SUPERVISOR_PORT: `${port}`,
      SUPERVISOR_TOKEN_FILE: supervisorToken(secrets),
    };
    const program = path.join(projectRoot(), 'dist/lab/supervisor/main.js');
    if (!fs.existsSync(program)) throw new Error(`${program} is missing: build the project with npm run build`);
    spawn(process.execPath, [program], { cwd: lab.folder, env, detached: true, stdio: ['ignore', log, log] }).unref();
    fs.closeSync(log);
    progress(`lab ${lab.name} at 127.${lab.network}.0.0/16, state in ${lab.folder}`);
  }
  await waitUntil("the lab's supervisor answering", async () => (await supervisorOf(lab).processes()).length >= 0, {
    deadlineMs: 10_000,
  });
}

function supervisorFolder(lab: LabDescription): string {
  return path.join(lab.folder, 'supervisor');
}

export function supervisorRuns(lab: LabDescription): boolean {
  return leftovers(path.join(supervisorFolder(lab), 'pids')).some(
    (each) => each.name === 'supervisor' && isAlive(each.identity),
  );
}

/** Kills what a killed supervisor left; its own pid comes first, so that it starts nothing meanwhile. */
export async function endLeftovers(lab: LabDescription): Promise<void> {
  const folder = path.join(supervisorFolder(lab), 'pids');
  const found = leftovers(folder).toSorted((a) => (a.name === 'supervisor' ? -1 : 1));
  for (const { identity } of found) if (isAlive(identity)) await killTree(identity.pid);
  fs.rmSync(folder, { recursive: true, force: true });
}
