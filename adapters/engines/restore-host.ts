import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as net from 'node:net';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { failure } from '../../core/errors';

/** An operating system user, as chown and spawn want it. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The account that a restored server and its files belong to; null for the worker's own. Throws ConfigInvalid for a user
 * that this host does not have, or that this worker may not become.
 */
export async function accountOf(osUser: string | null): Promise<Account | null> {
  if (osUser === null) return null;
  // `id` and not /etc/passwd: it knows the users of a directory service too.
  const id = async (flag: string) =>
    Number((await promisify(execFile)('id', [flag, '--', osUser], { timeout: 10_000 })).stdout);
  let account: Account;
  try {
    account = { uid: await id('-u'), gid: await id('-g') };
  } catch (error) {
    throw failure('ConfigInvalid', `there is no operating system user "${osUser}" here for the restored server`, {
      next: 'Set restore.osUser of the store to a user of this host.',
      cause: error,
    });
  }
  const own = process.getuid?.();
  if (own === 0 || own === account.uid) return account;
  throw failure('ConfigInvalid', `only root can run the restored server as "${osUser}"; this worker is not root`);
}

/**
 * `wanted`, or for 0 a free port at the address. Between our look and the server's own bind another process may take it;
 * the start then fails by name and is repeated.
 */
export async function freePort(host: string, wanted = 0): Promise<number> {
  if (wanted !== 0) return wanted;
  const probe = net.createServer();
  await new Promise<void>((resolve, reject) => probe.once('error', reject).listen(0, host, resolve));
  const { port } = probe.address() as net.AddressInfo;
  await new Promise<void>((resolve) => probe.close(() => resolve()));
  return port;
}

/** A program in the configured folder, or without one in the PATH; null where it is not. */
export async function findProgram(name: string, toolsDirectory: string | undefined): Promise<string | null> {
  const folders = toolsDirectory === undefined ? (process.env['PATH'] ?? '').split(path.delimiter) : [toolsDirectory];
  for (const folder of folders.filter((each) => each !== '')) {
    const program = path.join(folder, name);
    const isThere = await fs.access(program, fs.constants.X_OK).then(
      () => true,
      () => false, // the next folder may have it
    );
    if (isThere) return program;
  }
  return null;
}
