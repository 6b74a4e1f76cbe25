import { createHash } from 'node:crypto';
import * as fs from 'node:fs/promises';
import * as os from 'node:os';
import * as path from 'node:path';
import { failure } from '../../../core/errors';
import type { RestorePlace } from '../../../core/recovery';
import { type Account, accountOf } from '../restore-host';
import { clearPlace, readMarker as readAnyMarker, type RestoreMarker } from '../restore-marker';

/** How far a restore has come; a later call of an earlier step may start again from any of them. */
export type RestorePhase = 'rebuilding' | 'rebuilt' | 'replaying' | 'replayed' | 'open' | 'shutdown';

export interface Marker extends RestoreMarker {
  readonly engine: 'postgresql';
  readonly phase: RestorePhase;
  readonly majorVersion: number;
  readonly user: string;
  readonly database: string;
  readonly host: string;
  readonly port: number;
  readonly reachedPosition: { readonly lineage: string; readonly value: string } | null;
  readonly reachedTime: string | null;
  /** While a server's own data directory becomes a place. */
  readonly takingOver?: boolean;
}

/** A socket's path must fit into sockaddr_un (108 bytes on Linux), the server adds `/.s.PGSQL.65535`. */
const SOCKET_DIRECTORY_LIMIT = 88;

export interface PlacePaths {
  readonly root: string;
  readonly data: string;
  readonly wal: string;
  readonly tablespaces: string;
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
    config: path.join(root, 'postgresql.conf'),
    hba: path.join(root, 'pg_hba.conf'),
    log: path.join(root, 'server.log'),
    socket: inside.length <= SOCKET_DIRECTORY_LIMIT ? inside : path.join(os.tmpdir(), `drctl-pg-${hash}`),
  };
}

/** Null when the place carries no marker of a PostgreSQL restore. */
export async function readMarker(directory: string): Promise<Marker | null> {
  const marker = await readAnyMarker<Marker>(directory);
  return marker?.engine === 'postgresql' ? marker : null;
}

/** Removes what a restore made, also outside the place, but for the entries that `keep` names; see ../restore-marker. */
export async function clearRestore(
  directory: string,
  options: { readonly keepMarker: boolean; readonly keep?: readonly string[] },
): Promise<void> {
  await fs.rm(pathsOf(directory).socket, { recursive: true, force: true });
  await clearPlace(directory, options);
}

/** Who runs the restored server. PostgreSQL refuses to run as root, so that root has to name somebody. */
export async function ownerOf(place: RestorePlace): Promise<Account> {
  const named = await accountOf(place.osUser);
  if (named) return named;
  const self = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
  if (self.uid !== 0) return self;
  throw failure('ConfigInvalid', "PostgreSQL does not run as root: the restore's `osUser` must name another user", {
    next: 'Set restore.osUser of the store, for example to postgres.',
  });
}
