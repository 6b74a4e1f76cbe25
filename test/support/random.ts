import { createCipheriv, createHash } from 'node:crypto';

/**
 * All that tests leave to chance, and how much of it: one seed repeats a run. `npm test` takes the same seed every day and each
 * test's own small sample; `npm run test:deep -- <area>` takes a new seed and the full counts (bench/deep.ts).
 */
export interface SeededRandom {
  readonly seed: number;
  /** From 0 (inclusive) to `below` (exclusive). */
  readonly integer: (below: number) => number;
  readonly pick: <T>(from: readonly T[]) => T;
  /** In another order; the array stays as it is. */
  readonly shuffled: <T>(all: readonly T[]) => T[];
}

const SEED_OF_EVERY_DAY = 20_261_122;

/** The names of the counts: rounds of a story or a property, kills of a worker, steps of a workload, targets of restores. */
export type Count = 'ROUNDS' | 'KILLS' | 'STEPS' | 'TARGETS';

function wholeNumber(variable: string, otherwise: number, least: number): number {
  const text = process.env[variable];
  const number = text === undefined ? otherwise : Number(text);
  if (text?.trim() === '' || !Number.isSafeInteger(number) || number < least)
    throw new Error(`${variable} is "${text}", not a whole number of at least ${least}`);
  return number;
}

const seedOfTheRun = () => wholeNumber('DRCTL_SEED', SEED_OF_EVERY_DAY, 0);

/** How many: `sample` in `npm test`, DRCTL_<name> where it is set. */
export function countOf(name: Count, sample: number): number {
  return wholeNumber(`DRCTL_${name}`, sample, 1);
}

/** Numbers in [0, 1): mulberry32, plenty for choosing. */
export function seededNumbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function randomOf(seed: number): SeededRandom {
  const next = seededNumbers(seed);
  const integer = (below: number) => Math.floor(next() * below);
  return {
    seed,
    integer,
    pick: (from) => from[integer(from.length)] as (typeof from)[number],
    shuffled: (all) =>
      all
        .map((each) => ({ each, at: next() }))
        .toSorted((a, b) => a.at - b.at)
        .map(({ each }) => each),
  };
}

/** The random choices of a whole test file. Says its seed, so that the log of a failure has it. */
export function seededRandom(what: string): SeededRandom {
  const seed = seedOfTheRun();
  process.stderr.write(`${what}: DRCTL_SEED=${seed}\n`);
  return randomOf(seed);
}

/** For `test.each` or `describe.each`: round 1 and on, `sample` of them in `npm test`. */
export function rounds(sample = 1): number[] {
  return Array.from({ length: countOf('ROUNDS', sample) }, (_, index) => index + 1);
}

/**
 * For `test.each`: a seed for each round of a property, which its name then has. The first is the run's own, so that a round
 * is repeated alone by its seed and DRCTL_ROUNDS=1.
 */
export function seedsOfRounds(sample = 1): number[] {
  return rounds(sample).map((round) => seedOfTheRun() + round - 1);
}

/** Bytes that do not compress, the same for the same seed; each call of the answer goes on where the last one ended. */
export function seededBytes(seed: number | 'of the run' = 'of the run'): (sizeBytes: number) => Buffer {
  const text = String(seed === 'of the run' ? seedOfTheRun() : seed);
  const stream = createCipheriv('aes-256-ctr', createHash('sha256').update(text).digest(), Buffer.alloc(16));
  return (sizeBytes) => stream.update(Buffer.alloc(sizeBytes));
}
