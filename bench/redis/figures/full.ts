import { type Aim, figure, type Figure, median } from '../../figure';
import { backUpByPipe, rdbReader } from '../peers/redis-cli';
import { sizeWords, type Stand } from '../stand';

const WALL: Aim = { ratioAtMost: 1.1 };
const BYTES: Aim = { ratioAtMost: 1.05 };

/** A full backup: ours from planned to committed, the peer's from its start until S3 has everything. */
export async function fullBackup({ rig, rounds, say, ...stand }: Stand): Promise<Figure[]> {
  const { server, product } = await stand.sessions();
  const reader = rdbReader();
  const ours: { seconds: number; storedBytes: number; commandSeconds: number }[] = [];
  const theirs: { seconds: number; storedBytes: number }[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    await product.work();
    ours.push(await product.backUp('full'));
    await product.rest();
    theirs.push(await backUpByPipe(rig, reader, server));
    const [mine, other] = [ours.at(-1)?.seconds.toFixed(1), theirs.at(-1)?.seconds.toFixed(1)];
    say(`  full, round ${round}: ours ${mine} s, ${reader.name} ${other} s`);
  }
  const what = `full backup of ${sizeWords(stand.megabytes)} of sessions`;
  const on = `drctl on Redis ${server.serverVersion}`;
  const command = `the whole command took ${median(ours.map((each) => each.commandSeconds)).toFixed(1)} s`;
  const mebibytes = (each: { storedBytes: number }) => each.storedBytes / 2 ** 20;
  return [
    figure({
      name: `${what} to S3, planned to committed (${on})`,
      unit: 's',
      values: ours.map((each) => each.seconds),
      peer: { name: reader.name, values: theirs.map((each) => each.seconds) },
      aim: WALL,
      note: [command, reader.note].filter((each) => each !== null).join('; '),
    }),
    figure({
      name: `stored bytes of the ${what} (${on})`,
      unit: 'MiB',
      values: ours.map(mebibytes),
      peer: { name: reader.name, values: theirs.map(mebibytes) },
      aim: BYTES,
    }),
  ];
}
