import { type Aim, figure, type Figure, median } from '../../figure';
import { type PeerBackup, RAW_READ, rawReadBackup, TOOLS_MISSING } from '../peers/mongo-tools';
import { sizeWords, type Stand } from '../stand';

const WALL: Aim = { ratioAtMost: 1 };
const BYTES: Aim = { ratioAtMost: 1.05 };

/** A full backup of the secondary: ours from planned to committed, the peer's from its start until S3 has everything. */
export async function fullBackup({ rig, tools, rounds, say, ...stand }: Stand): Promise<Figure[]> {
  const { set, product } = await stand.mixed();
  const peer = tools ?? { name: RAW_READ, backUp: rawReadBackup };
  const ours: { seconds: number; storedBytes: number; commandSeconds: number }[] = [];
  const theirs: PeerBackup[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    await product.work();
    await set.settled();
    ours.push(await product.backUp('full'));
    await product.rest();
    await set.settled();
    theirs.push(await peer.backUp(rig, set));
    const [mine, other] = [ours.at(-1)?.seconds.toFixed(1), theirs.at(-1)?.seconds.toFixed(1)];
    say(`  full, round ${round}: ours ${mine} s, ${peer.name} ${other} s`);
  }
  const what = `full backup of ${sizeWords(stand.megabytes)} of mixed documents`;
  const on = `drctl on MongoDB ${set.serverVersion}`;
  const missing = tools ? [] : [`${TOOLS_MISSING}: the peer is what limits them`];
  const mebibytes = (each: { storedBytes: number }) => each.storedBytes / 2 ** 20;
  return [
    figure({
      name: `${what} to S3, planned to committed (${on})`,
      unit: 's',
      values: ours.map((each) => each.seconds),
      peer: { name: peer.name, values: theirs.map((each) => each.seconds) },
      aim: WALL,
      note: [`the whole command took ${median(ours.map((each) => each.commandSeconds)).toFixed(1)} s`, ...missing].join(
        '; ',
      ),
    }),
    figure({
      name: `stored bytes of the ${what} (${on})`,
      unit: 'MiB',
      values: ours.map(mebibytes),
      peer: { name: peer.name, values: theirs.map(mebibytes) },
      aim: BYTES,
    }),
  ];
}
