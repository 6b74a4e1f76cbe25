import { chownSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { RestorePlace } from '../../../core/recovery';
import { accountOf, findProgram } from '../restore-host';
import { RestoredServer } from '../restored-server';
import { mongoFailure } from './members';

/** Recovery after a crash replays the journal first, at most some hundred MB. */
const START_MILLISECONDS = 120_000;

/**
 * `standalone` while data is loaded and replayed: no oplog of its own, so everything is written once. `set` when it is opened:
 * applications and change streams need a replica set, and a set of its own is a lineage of its own.
 */
export type ServerMode = { readonly kind: 'standalone' } | { readonly kind: 'set'; readonly name: string };

/** The server of a place. A clean shutdown writes a checkpoint; what takes longer is killed, which the journal forgives. */
export function serverOf(directory: string): RestoredServer {
  const data = dataOf(directory);
  return new RestoredServer({
    workingDirectory: directory,
    recognises: (words) => words.includes(data),
    pidFile: join(directory, 'mongod.pid'),
    logFile: logOf(directory),
    stopSignals: [
      ['SIGTERM', 60_000],
      ['SIGKILL', 20_000],
    ],
  });
}

/** Starts `mongod` in the place unless it runs there; resolves when it accepts connections. It outlives this process. */
export async function startServer(
  place: Pick<RestorePlace, 'directory' | 'host' | 'port' | 'osUser'>,
  mode: ServerMode,
  toolsDirectory: string | undefined,
  ctx: CallContext,
): Promise<void> {
  const { directory } = place;
  const server = serverOf(directory);
  if ((await server.pid()) !== null) return;
  const program = await findProgram('mongod', toolsDirectory);
  if (program === null)
    throw failure('ToolMissing', `mongod is not in ${toolsDirectory ?? 'PATH'}: a restore of MongoDB needs it`);
  const account = await accountOf(place.osUser);
  for (const folder of [directory, dataOf(directory)]) {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (account) chownSync(folder, account.uid, account.gid);
  }
  const parameters = [
    'diagnosticDataCollectionEnabled=false',
    // The only member of its set: to wait 15 s for a successor before it shuts down helps nobody.
    'shutdownTimeoutMillisForSignaledShutdown=0',
    ...(mode.kind === 'standalone' ? ['ttlMonitorEnabled=false'] : []),
  ];
  const argv = [
    ...['--dbpath', dataOf(directory), '--pidfilepath', join(directory, 'mongod.pid')],
    ...['--bind_ip', place.host, '--port', `${place.port}`, '--nounixsocket', '--wiredTigerCacheSizeGB', '0.5'],
    ...parameters.flatMap((each) => ['--setParameter', each]),
    ...(mode.kind === 'set' ? ['--replSet', mode.name] : []),
  ];
  const from = await server.logBytes();
  const notStarted = async (why: string) =>
    failure('TargetUnreachable', `mongod does not start in ${directory}: ${why}; ${await complaints(server, from)}`, {
      next: `Look at ${logOf(directory)}; the step can then be tried again.`,
    });
  await server.launch<void>(
    { program, argv, account },
    {
      // Its own word, because whoever answers at the port may be another process. With it `--fork` lets its parent go, too.
      look: async () =>
        /aiting for connections/.test(await server.logTail(from)) ? { ready: undefined } : { waiting: '' },
      patienceMilliseconds: START_MILLISECONDS,
      ended: async (reason) => Promise.reject(await notStarted(reason)),
      stuck: () => notStarted(`it is not ready after ${START_MILLISECONDS / 1_000} s`),
    },
    ctx,
  );
}

/** Runs `use` on a connection to the restored server, which asks for no password. */
export async function withRestored<T>(
  { host, port }: { readonly host: string; readonly port: number },
  use: (client: MongoClient) => Promise<T>,
): Promise<T> {
  const client = new MongoClient(`mongodb://${host}:${port}/`, {
    directConnection: true,
    serverSelectionTimeoutMS: 10_000,
  });
  try {
    return await use(await client.connect());
  } catch (error) {
    throw mongoFailure(error, `restored at ${host}:${port}`);
  } finally {
    await client.close();
  }
}

/** What it said at the severity of an error; without such a line its last words. */
async function complaints(server: RestoredServer, from: number): Promise<string> {
  const lines = (await server.logTail(from)).split('\n').filter((line) => /"s":"[EF]"/.test(line));
  return lines.length > 0 ? lines.slice(0, 3).join(' | ').slice(0, 600) : server.lastWords(from);
}

function dataOf(directory: string): string {
  return join(directory, 'db');
}

function logOf(directory: string): string {
  return join(directory, 'mongod.log');
}
