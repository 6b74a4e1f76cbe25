import { type Aim, figure, type Figure, unmeasured } from '../../figure';
import { sizeWords } from '../../parts';
import { CHANGED_SHARE } from '../chain';
import type { Stand } from '../stand';

const AIM: Aim = { ratioAtMost: 0.25 };

/** An incremental after some rows changed everywhere: ours on 18 (PostgreSQL's block incrementals), pgBackRest's on 15. */
export async function incremental(stand: Stand): Promise<Figure[]> {
  const { megabytes, pgBackRestMissing: why, rounds, say } = stand;
  const what = `incremental of ${sizeWords(megabytes)}, ${CHANGED_SHARE * 100} % of rows changed`;
  const wall = `${what}, planned to committed (drctl on PostgreSQL 18)`;
  const bytes = `stored bytes of the ${what} (drctl on PostgreSQL 18)`;
  if (why !== null) {
    return [
      unmeasured({ name: wall, unit: 's', peer: null, aim: AIM, why }),
      unmeasured({ name: bytes, unit: 'MiB', peer: null, aim: AIM, why }),
    ];
  }
  const [ours, theirs] = [await stand.ourChain(), await stand.pgBackRestChain()];
  const taken = { ours: [] as Taken[], theirs: [] as Taken[] };
  for (let round = 1; round <= rounds; round += 1) {
    taken.ours.push(await ours.take());
    taken.theirs.push(await theirs.take());
    const words = (each: Taken | undefined) =>
      `${each?.seconds.toFixed(1)} s, ${((each?.storedBytes ?? 0) / 2 ** 20).toFixed(1)} MiB`;
    say(`  incremental, round ${round}: ours ${words(taken.ours.at(-1))}; pgBackRest ${words(taken.theirs.at(-1))}`);
  }
  const peer = `${(await stand.pgBackRest()).name} on PostgreSQL ${stand.version15?.number}`;
  return [
    figure({
      name: wall,
      unit: 's',
      values: taken.ours.map((each) => each.seconds),
      peer: { name: peer, values: taken.theirs.map((each) => each.seconds) },
      aim: AIM,
    }),
    figure({
      name: bytes,
      unit: 'MiB',
      values: taken.ours.map((each) => each.storedBytes / 2 ** 20),
      peer: { name: peer, values: taken.theirs.map((each) => each.storedBytes / 2 ** 20) },
      aim: AIM,
    }),
  ];
}

interface Taken {
  readonly seconds: number;
  readonly storedBytes: number;
}
