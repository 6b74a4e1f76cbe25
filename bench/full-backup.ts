import { type Aim, figure, type Figure, median } from './figure';
import type { Product } from './product';

const BYTES: Aim = { ratioAtMost: 1.05 };

export interface TimedBackup {
  readonly seconds: number;
  readonly storedBytes: number;
}

export interface FullBackups {
  /** "full backup of 2 GB of mixed documents" */
  readonly what: string;
  /** "drctl on MongoDB 8.0.4" */
  readonly on: string;
  readonly rounds: number;
  readonly say: (line: string) => void;
  readonly product: Product;
  readonly peer: { readonly name: string; readonly backUp: () => Promise<TimedBackup> };
  readonly wall: Aim;
  readonly notes: readonly string[];
  /** Resolves when the server does nothing of its own that would disturb whoever is next. */
  readonly settled?: () => Promise<void>;
}

/** A full backup in turns: ours from planned to committed, the peer's from its start until S3 has everything. */
export async function fullBackups({ product, peer, settled, rounds, say, ...named }: FullBackups): Promise<Figure[]> {
  const ours: (TimedBackup & { commandSeconds: number })[] = [];
  const theirs: TimedBackup[] = [];
  for (let round = 1; round <= rounds; round += 1) {
    await product.work();
    await settled?.();
    ours.push(await product.backUp('full'));
    await product.rest();
    await settled?.();
    theirs.push(await peer.backUp());
    const [mine, other] = [ours.at(-1)?.seconds.toFixed(1), theirs.at(-1)?.seconds.toFixed(1)];
    say(`  full, round ${round}: ours ${mine} s, ${peer.name} ${other} s`);
  }
  const { what, on, wall, notes } = named;
  const command = `the whole command took ${median(ours.map((each) => each.commandSeconds)).toFixed(1)} s`;
  const mebibytes = (each: TimedBackup) => each.storedBytes / 2 ** 20;
  return [
    figure({
      name: `${what} to S3, planned to committed (${on})`,
      unit: 's',
      values: ours.map((each) => each.seconds),
      peer: { name: peer.name, values: theirs.map((each) => each.seconds) },
      aim: wall,
      note: [command, ...notes].join('; '),
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
