import type { Aim, Figure } from '../../figure';
import { fullBackups } from '../../full-backup';
import { sizeWords } from '../../parts';
import { backUpByPipe, rdbReader } from '../peers/redis-cli';
import type { Stand } from '../stand';

const WALL: Aim = { ratioAtMost: 1.1 };

export async function fullBackup({ rig, rounds, say, ...stand }: Stand): Promise<Figure[]> {
  const { server, product } = await stand.sessions();
  const reader = rdbReader();
  return fullBackups({
    ...{ product, rounds, say, wall: WALL },
    what: `full backup of ${sizeWords(stand.megabytes)} of sessions`,
    on: `drctl on Redis ${server.serverVersion}`,
    peer: { name: reader.name, backUp: () => backUpByPipe(rig, reader, server) },
    notes: reader.note === null ? [] : [reader.note],
  });
}
