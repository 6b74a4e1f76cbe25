/** Random numbers that a failed run can repeat: the seed comes from DRCTL_SEED, else it is always the same. */
export interface SeededRandom {
  readonly seed: number;
  /** From 0 (inclusive) to `below` (exclusive). */
  integer(below: number): number;
  pick<T>(from: readonly T[]): T;
}

const SEED_OF_EVERY_DAY = 20_261_122;

/** Says its seed, so that the log of a failure has it. */
export function seededRandom(what: string): SeededRandom {
  const seed = Number(process.env['DRCTL_SEED'] ?? SEED_OF_EVERY_DAY);
  if (!Number.isSafeInteger(seed)) throw new Error(`DRCTL_SEED is "${process.env['DRCTL_SEED']}", not a whole number`);
  process.stderr.write(`${what}: DRCTL_SEED=${seed}\n`);
  let state = seed >>> 0;
  // mulberry32: plenty for choosing moments.
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const integer = (below: number) => Math.floor(next() * below);
  return { seed, integer, pick: (from) => from[integer(from.length)] as (typeof from)[number] };
}

/** How often each story is told: once in `npm test`, more often in `npm run test:deep -- kills`. */
export function rounds(): number[] {
  const count = Number(process.env['DRCTL_ROUNDS'] ?? 1);
  if (!Number.isSafeInteger(count) || count < 1)
    throw new Error(`DRCTL_ROUNDS is "${process.env['DRCTL_ROUNDS']}", not a whole number above 0`);
  return Array.from({ length: count }, (_, index) => index + 1);
}
