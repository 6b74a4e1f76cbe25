import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { serverBinaries } from '../../lab/runtime/servers';

/** A PostgreSQL whose programs are on this machine. */
export interface PostgresVersion {
  readonly major: number;
  /** The folder of its programs. */
  readonly programs: string;
  /** "18.6", as figures name it. */
  readonly number: string;
}

/** Where Debian's package puts it. */
const DEBIAN_15 = '/usr/lib/postgresql/15/bin';

/** The lab's own. */
export function postgres18(): PostgresVersion {
  return versionOf(18, serverBinaries().postgresBin);
}

/** Debian's, which the peers from Debian's packages can back up; null where it is not installed. */
export function postgres15(): PostgresVersion | null {
  return fs.existsSync(path.join(DEBIAN_15, 'postgres')) ? versionOf(15, DEBIAN_15) : null;
}

function versionOf(major: number, programs: string): PostgresVersion {
  // "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"
  const said = execFileSync(path.join(programs, 'postgres'), ['--version'], { encoding: 'utf8' });
  return { major, programs, number: /\(PostgreSQL\) (\S+)/.exec(said)?.[1] ?? `${major}` };
}
