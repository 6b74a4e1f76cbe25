import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { runToEnd, serverFile, serverFolder } from '../../lab/servers/process';
import { ask } from './postgresql-source';
import { postgresTool, startPostgres } from './servers';

type Postgres = Awaited<ReturnType<typeof startPostgres>>;

/** A second server that is a copy of the first and follows it. `stop` removes its data too. */
export async function startPostgresStandby(
  primary: Pick<Postgres, 'host' | 'port' | 'user' | 'password'>,
  settings: Readonly<Record<string, string>> = {},
  programs?: string,
): Promise<Postgres> {
  const base = serverFolder(fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-pg-standby-')));
  const dataDir = path.join(base, 'data');
  const argv = [
    postgresTool('pg_basebackup', programs),
    '-h',
    primary.host,
    '-p',
    `${primary.port}`,
    '-U',
    primary.user,
  ];
  await runToEnd({
    argv: [...argv, '-D', dataDir, '-R', '-X', 'stream', '-c', 'fast'],
    env: { PGPASSWORD: primary.password },
    cwd: base,
    unprivileged: true,
  });
  const standby = await startPostgres({ dataDir, password: primary.password, settings, programs });
  const stop = async () => {
    await standby.stop();
    fs.rmSync(base, { recursive: true, force: true });
  };
  return { ...standby, stop };
}

/** Starts a server anew as a standby of nobody, and promotes it: the same content on the next timeline. */
export async function promoteAlone(server: Postgres): Promise<void> {
  await server.server.stop();
  serverFile(path.join(server.dataDir, 'standby.signal'), '');
  await server.server.start();
  await ask(server.url, 'SELECT pg_promote(true, 30)');
}
