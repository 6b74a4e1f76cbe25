import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { failure } from '../../../core/errors';
import type { RestorePlace } from '../../../core/recovery';

/** How far a restore has come; a later call of an earlier step may start again from any of them. */
export type RestorePhase = 'rebuilding' | 'rebuilt' | 'replaying' | 'replayed' | 'open';

/** `drctl-restore.json` in a place: says that it is ours and whose. Holds no secret. */
export interface Marker {
  readonly engine: 'postgresql';
  readonly restoreId: string;
  readonly store: string;
  readonly phase: RestorePhase;
  readonly majorVersion: number;
  readonly user: string;
  readonly database: string;
  readonly host: string;
  readonly port: number;
  readonly reachedPosition: { readonly lineage: string; readonly value: string } | null;
  readonly reachedTime: string | null;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

const MARKER = 'drctl-restore.json';
/** A socket's path must fit into sockaddr_un (108 bytes on Linux), the server adds `/.s.PGSQL.65535`. */
const SOCKET_DIRECTORY_LIMIT = 88;

export interface PlacePaths {
  readonly root: string;
  readonly data: string;
  readonly wal: string;
  readonly tablespaces: string;
  readonly chain: string;
  readonly config: string;
  readonly hba: string;
  readonly log: string;
  readonly socket: string;
}

export function pathsOf(directory: string): PlacePaths {
  const root = path.resolve(directory);
  const inside = path.join(root, 'run');
  const hash = createHash('sha256').update(root).digest('hex').slice(0, 16);
  return {
    root,
    data: path.join(root, 'data'),
    wal: path.join(root, 'wal'),
    tablespaces: path.join(root, 'tablespaces'),
    chain: path.join(root, 'chain'),
    config: path.join(root, 'postgresql.conf'),
    hba: path.join(root, 'pg_hba.conf'),
    log: path.join(root, 'server.log'),
    socket: inside.length <= SOCKET_DIRECTORY_LIMIT ? inside : path.join(os.tmpdir(), `drctl-pg-${hash}`),
  };
}

/** Null when the place carries no marker of a PostgreSQL restore. */
export async function readMarker(directory: string): Promise<Marker | null> {
  try {
    const marker = JSON.parse(await fs.readFile(path.join(directory, MARKER), 'utf8')) as Marker;
    return marker.engine === 'postgresql' ? marker : null;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}

/** Replaces the marker in one step, so that a killed worker leaves the old or the new one. */
export async function writeMarker(directory: string, marker: Marker): Promise<void> {
  const file = path.join(directory, MARKER);
  await fs.writeFile(`${file}.new`, `${JSON.stringify(marker, null, 2)}\n`, { flush: true });
  await fs.rename(`${file}.new`, file);
}

/** Removes what a restore made, the marker last: a removal that was cut off can be repeated. */
export async function clearPlace(directory: string, options: { readonly keepMarker: boolean }): Promise<void> {
  for (const name of await entriesOf(directory)) {
    if (name !== MARKER) await fs.rm(path.join(directory, name), { recursive: true, force: true });
  }
  await fs.rm(pathsOf(directory).socket, { recursive: true, force: true });
  if (!options.keepMarker) await fs.rm(path.join(directory, MARKER), { force: true });
}

export async function entriesOf(directory: string): Promise<string[]> {
  try {
    return await fs.readdir(directory);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Throws TargetNotEmpty for a place that holds anything but an earlier try of the same restore. */
export async function mayTake(place: RestorePlace, restoreId: string): Promise<void> {
  const [marker, names] = [await readMarker(place.directory), await entriesOf(place.directory)];
  if (names.length === 0 || place.overwrite || marker?.restoreId === restoreId) return;
  const holds = marker ? `the restore ${marker.restoreId} of ${marker.store}` : names.slice(0, 3).join(', ');
  throw failure('TargetNotEmpty', `${place.directory} holds ${holds}${names.length > 3 && !marker ? ', …' : ''}`, {
    next: 'Choose an empty place, or allow it to be replaced with --overwrite.',
  });
}

/** Who runs the restored server. PostgreSQL refuses to run as root, so that root has to name somebody. */
export async function ownerOf(place: RestorePlace): Promise<Owner> {
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (place.osUser === null) {
    if (self.uid !== 0) return self;
    throw failure('ConfigInvalid', "PostgreSQL does not run as root: the restore's `osUser` must name another user", {
      next: 'Set restore.osUser of the store, for example to postgres.',
    });
  }
  const line = (await fs.readFile('/etc/passwd', 'utf8'))
    .split('\n')
    .find((each) => each.startsWith(`${place.osUser}:`));
  const [, , uid, gid] = line?.split(':') ?? [];
  if (uid === undefined || gid === undefined) {
    throw failure('ConfigInvalid', `there is no operating system user "${place.osUser}" for the restored server`);
  }
  if (self.uid !== 0 && Number(uid) !== self.uid) {
    throw failure(
      'ConfigInvalid',
      `only root can run the restored server as "${place.osUser}"; this worker is not root`,
    );
  }
  return { uid: Number(uid), gid: Number(gid) };
}

/** The port of the place, or a free one. */
export async function portFor(place: RestorePlace): Promise<number> {
  if (place.port !== 0) return place.port;
  const server = net.createServer();
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, place.host, resolve));
  const { port } = server.address() as net.AddressInfo;
  await new Promise<void>((resolve) => server.close(() => resolve()));
  return port;
}
