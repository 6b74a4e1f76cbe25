import * as fs from 'node:fs';
import * as path from 'node:path';
import { serveSupervisor } from './api';
import { recordSupervisor } from './pid-files';
import { Supervisor } from './supervisor';

/** Started by `lab up`, detached: SUPERVISOR_FOLDER, SUPERVISOR_HOST, SUPERVISOR_PORT, SUPERVISOR_TOKEN_FILE. */
async function main(): Promise<void> {
  const folder = setting('SUPERVISOR_FOLDER');
  fs.mkdirSync(path.join(folder, 'pids'), { recursive: true });
  const supervisor = new Supervisor(folder);
  const server = await serveSupervisor({
    supervisor,
    host: setting('SUPERVISOR_HOST'),
    port: Number(setting('SUPERVISOR_PORT')), // a second supervisor of the same lab fails here, before it touches anything
    token: fs.readFileSync(setting('SUPERVISOR_TOKEN_FILE'), 'utf8').trim(),
    onShutdown: () => server.close(() => process.exit(0)).closeAllConnections(),
  });
  recordSupervisor(folder);
  await supervisor.resume();
  for (const signal of ['SIGTERM', 'SIGINT'] as const)
    process.once(signal, () => void supervisor.shutdown().finally(() => process.exit(0)));
}

function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: the supervisor is started by drctl lab up`);
  return value;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exit(1);
});
