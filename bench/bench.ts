import type { Figure } from './figure';

/** What a benchmark is given. */
export interface BenchContext {
  /** Rounds of each measurement; figures are medians of them. */
  readonly rounds: number;
  /** One line for the person who waits. */
  readonly say: (line: string) => void;
}

export interface Bench {
  /** One line for `--help`. */
  readonly summary: string;
  /** Measures ours and its peer in one run. Cleans up what it started, also when it fails. */
  run(context: BenchContext): Promise<Figure[]>;
}
