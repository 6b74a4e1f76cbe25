import { type Aim, figure, type Figure, median, unmeasured } from '../../figure';
import { sizeWords } from '../../parts';
import { barmanBackup, barmanMissing, barmanName } from '../peers/barman';
import { PIPELINE, pipelineBackup } from '../peers/pipeline';
import type { Side } from '../product';
import type { Stand } from '../stand';

const WALL: Aim = { ratioAtMost: 0.85 };
const BYTES: Aim = { ratioAtMost: 1.05 };
/** A peer that takes this many times the best one's is not waited for again. */
const HOPELESS = 2;

interface Sample {
  readonly seconds: number;
  readonly storedBytes: number;
}

interface Peer {
  readonly name: string;
  readonly backUp: () => Promise<Sample>;
}

/** A full backup: ours and Debian's peers on 15, ours and the shell pipeline on 18. */
export async function fullBackup(stand: Stand): Promise<Figure[]> {
  return [...(await onFifteen(stand)), ...(await onEighteen(stand))];
}

async function onEighteen(stand: Stand): Promise<Figure[]> {
  const side = await stand.on18();
  const peer = { name: PIPELINE, backUp: () => pipelineBackup(stand.rig, side.cluster) };
  return compare(stand, side, [peer]);
}

async function onFifteen(stand: Stand): Promise<Figure[]> {
  const reasons = [stand.pgBackRestMissing, stand.version15 && barmanMissing()].filter((each) => each !== null);
  const peers: Peer[] = [];
  if (stand.pgBackRestMissing === null) {
    const pgBackRest = await stand.pgBackRest();
    peers.push({ name: pgBackRest.name, backUp: () => pgBackRest.backUp('full') });
  }
  if (stand.version15 && barmanMissing() === null) {
    const { cluster } = await stand.on15();
    peers.push({ name: barmanName(), backUp: () => barmanBackup(stand.rig, cluster) });
  }
  if (peers.length > 0) return compare(stand, await stand.on15(), peers, reasons);
  const why = reasons.join('; ');
  const [wall, bytes] = names(stand, 'PostgreSQL 15');
  return [
    unmeasured({ name: wall, unit: 's', peer: null, aim: WALL, why }),
    unmeasured({ name: bytes, unit: 'MiB', peer: null, aim: BYTES, why }),
  ];
}

async function compare(
  { rounds, say, ...stand }: Stand,
  { cluster, product }: Side,
  peers: readonly Peer[],
  reasons: readonly string[] = [],
): Promise<Figure[]> {
  const ours: Sample[] = [];
  const commands: number[] = [];
  const theirs = new Map<Peer, Sample[]>(peers.map((peer) => [peer, []]));
  for (let round = 1; round <= rounds; round += 1) {
    await product.work();
    await cluster.query('CHECKPOINT');
    const mine = await product.backUp('full');
    ours.push(mine);
    commands.push(mine.commandSeconds);
    await product.rest();
    for (const [peer, samples] of theirs) {
      if (isHopeless(samples, theirs)) continue;
      await cluster.query('CHECKPOINT');
      samples.push(await peer.backUp());
    }
    const words = [...theirs].map(
      ([{ name }, samples]) => `${name} ${samples[round - 1]?.seconds.toFixed(1) ?? '-'} s`,
    );
    say(`  ${cluster.name} full, round ${round}: ours ${mine.seconds.toFixed(1)} s, ${words.join(', ')}`);
  }
  const [best, ...others] = [...theirs].toSorted(([, a], [, b]) => seconds(a) - seconds(b));
  if (!best) throw new Error('there is no peer');
  const on = `PostgreSQL ${cluster.version.number}`;
  const [wall, bytes] = names(stand, on);
  const notes = [
    `the whole command took ${median(commands).toFixed(1)} s`,
    ...others.map(
      ([{ name }, samples]) =>
        `${name} took ${seconds(samples).toFixed(1)} s in ${samples.length} of ${rounds} rounds and stored ${mebibytes(samples).toFixed(0)} MiB`,
    ),
    ...reasons,
  ];
  const peer = { name: `${best[0].name} on ${on}` };
  return [
    figure({
      name: wall,
      unit: 's',
      values: ours.map((each) => each.seconds),
      peer: { ...peer, values: best[1].map((each) => each.seconds) },
      aim: WALL,
      note: notes.join('; '),
    }),
    figure({
      name: bytes,
      unit: 'MiB',
      values: ours.map((each) => each.storedBytes / 2 ** 20),
      peer: { ...peer, values: best[1].map((each) => each.storedBytes / 2 ** 20) },
      aim: BYTES,
    }),
  ];
}

function names({ megabytes }: Pick<Stand, 'megabytes'>, on: string): [string, string] {
  const what = `full backup of ${sizeWords(megabytes)}`;
  return [`${what} to S3, planned to committed (drctl on ${on})`, `stored bytes of the ${what} (drctl on ${on})`];
}

function isHopeless(samples: readonly Sample[], all: ReadonlyMap<Peer, readonly Sample[]>): boolean {
  if (samples.length === 0) return false;
  const measured = [...all.values()].filter((each) => each.length > 0);
  return seconds(samples) > HOPELESS * Math.min(...measured.map(seconds));
}

const seconds = (samples: readonly Sample[]) => median(samples.map((each) => each.seconds));
const mebibytes = (samples: readonly Sample[]) => median(samples.map((each) => each.storedBytes)) / 2 ** 20;
