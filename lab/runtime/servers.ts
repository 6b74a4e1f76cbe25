import { createHash } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';

/** Where the installed programs of the lab's servers lie. Everything but `motoServer` is a native program. */
export interface ServerBinaries {
  /** The folder of PostgreSQL 18's programs: `postgres`, `initdb`, `pg_basebackup`, `pg_combinebackup`, `pgbench` … */
  readonly postgresBin: string;
  readonly mongod: string;
  readonly redisServer: string;
  readonly valkeyServer: string;
  readonly weed: string;
  readonly temporal: string;
  readonly temporalTestServer: string;
  /** moto is Python: the start of its argv and the environment it needs. */
  readonly motoServer: { readonly argv: readonly string[]; readonly env: Readonly<Record<string, string>> };
}

/** The programs that scripts/lab-servers.mjs installed for this commit; throws when they are not there. */
export function serverBinaries(): ServerBinaries {
  const file = serversIndexFile();
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')) as ServerBinaries;
  } catch (cause) {
    throw new Error(`the lab's servers are not installed (${file} is missing): run node scripts/lab-servers.mjs`, {
      cause,
    });
  }
}

/** The index that scripts/lab-servers.mjs writes; its name carries the digest of the pinned versions. */
export function serversIndexFile(): string {
  const root = projectRoot();
  const digest = createHash('sha256');
  for (const list of ['requirements-lab.txt', 'requirements-moto.txt'])
    digest.update(fs.readFileSync(path.join(root, list)));
  return path.join(cacheFolder(), 'servers', `index-${digest.digest('hex').slice(0, 12)}.json`);
}

/** The project's folder, from its sources as well as from dist/. */
export function projectRoot(): string {
  let folder = __dirname;
  while (!fs.existsSync(path.join(folder, 'requirements-lab.txt'))) {
    const parent = path.dirname(folder);
    if (parent === folder)
      throw new Error(`no requirements-lab.txt above ${__dirname}: the project's folder is incomplete`);
    folder = parent;
  }
  return folder;
}

/** What every clone on this machine shares: downloaded servers, built programs. */
export function cacheFolder(): string {
  const { DRCTL_CACHE, XDG_CACHE_HOME } = process.env;
  if (DRCTL_CACHE) return path.resolve(DRCTL_CACHE);
  if (process.getuid?.() === 0) return '/var/cache/drctl';
  return path.join(XDG_CACHE_HOME ?? path.join(os.homedir(), '.cache'), 'drctl');
}
