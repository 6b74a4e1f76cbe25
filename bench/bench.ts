import type { Figure } from './figure';

/** What a benchmark is given. */
export interface BenchContext {
  /** Rounds of each measurement; figures are medians of them. */
  readonly rounds: number;
  /** One line for the person who waits. */
  readonly say: (line: string) => void;
  /** The parts that were asked for; all of them where none was named. */
  readonly parts: readonly string[];
  /** How much data instead of the benchmark's own amount, for trying it out: its aims are for its own amount. */
  readonly megabytes: number | null;
}

export interface Bench {
  /** One line for `--help`. */
  readonly summary: string;
  /** What `--only` may name; absent where a benchmark is one piece. */
  readonly parts?: readonly string[];
  /** Measures ours and its peer in one run. Cleans up what it started, also when it fails. */
  run(context: BenchContext): Promise<Figure[]>;
}
