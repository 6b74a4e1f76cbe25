import * as fs from 'node:fs';
import * as path from 'node:path';
import { canBind } from '../servers/loopback';
import { addressPlan, claimedAddresses } from './address-plan';
import { stateHome } from './lab-folder';

const FIRST = 20;
const LAST = 63;

/** Claims a loopback network for the lab at `folder`, for as long as that folder has a lab. */
export async function claimNetwork(folder: string, wanted?: number): Promise<number> {
  const claims = path.join(stateHome(), 'networks');
  fs.mkdirSync(claims, { recursive: true });
  const candidates = wanted === undefined ? Array.from({ length: LAST - FIRST + 1 }, (_, n) => FIRST + n) : [wanted];
  for (const network of candidates) {
    if (!claim(path.join(claims, `${network}`), folder)) continue;
    if (await isFree(network)) return network;
    releaseNetwork(network, folder);
  }
  throw new Error(
    wanted === undefined
      ? `no free network between 127.${FIRST} and 127.${LAST}: destroy a lab that you no longer need`
      : `network 127.${wanted} is in use by another lab or program`,
  );
}

export function releaseNetwork(network: number, folder: string): void {
  const file = path.join(stateHome(), 'networks', `${network}`);
  if (holder(file) === folder) fs.rmSync(file);
}

/** A claim is a symbolic link to the lab's folder: made atomically, and void when no lab is there any more. */
function claim(file: string, folder: string): boolean {
  const current = holder(file);
  if (current === folder) return true;
  if (current !== null && !fs.existsSync(current)) fs.rmSync(file, { force: true });
  try {
    fs.symlinkSync(folder, file);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    return false;
  }
}

function holder(file: string): string | null {
  try {
    return fs.readlinkSync(file);
  } catch {
    return null; // nobody
  }
}

async function isFree(network: number): Promise<boolean> {
  const free = await Promise.all(claimedAddresses(addressPlan(network)).map(({ host, port }) => canBind(host, port)));
  return free.every(Boolean);
}
