import type { Aim, Figure } from '../../figure';
import { fullBackups } from '../../full-backup';
import { sizeWords } from '../../parts';
import { RAW_READ, rawReadBackup, TOOLS_MISSING } from '../peers/mongo-tools';
import type { Stand } from '../stand';

const WALL: Aim = { ratioAtMost: 1 };

/** Of the secondary, by both. */
export async function fullBackup({ rig, tools, rounds, say, ...stand }: Stand): Promise<Figure[]> {
  const { set, product } = await stand.mixed();
  const peer = tools ?? { name: RAW_READ, backUp: rawReadBackup };
  return fullBackups({
    ...{ product, rounds, say, wall: WALL },
    what: `full backup of ${sizeWords(stand.megabytes)} of mixed documents`,
    on: `drctl on MongoDB ${set.serverVersion}`,
    peer: { name: peer.name, backUp: () => peer.backUp(rig, set) },
    settled: () => set.settled(),
    notes: tools ? [] : [`${TOOLS_MISSING}: the peer is what limits them`],
  });
}
