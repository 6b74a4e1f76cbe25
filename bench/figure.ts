/** One measured figure beside what it is compared with. `ratio` is value ÷ peerValue; null where there is no peer. */
export interface Figure {
  readonly name: string;
  /** Null where it could not be measured here; the note says why. */
  readonly value: number | null;
  readonly unit: string;
  readonly peer: string | null;
  readonly peerValue: number | null;
  readonly ratio: number | null;
  /** What is to be reached, in words; null where the figure is for information. */
  readonly aim: string | null;
  readonly met: boolean | null;
  /** What a reader has to know besides; null where nothing. */
  readonly note: string | null;
}

export type Aim =
  | { readonly valueAtMost: number }
  | { readonly valueAtLeast: number }
  | { readonly ratioAtMost: number }
  | { readonly ratioAtLeast: number }
  | null;

export interface Measured {
  readonly name: string;
  readonly unit: string;
  /** Every round; the figure is their median. */
  readonly values: readonly number[];
  readonly peer?: { readonly name: string; readonly values: readonly number[] };
  readonly aim?: Aim;
  readonly note?: string;
}

export function figure({ name, unit, values, peer, aim = null, note }: Measured): Figure {
  const value = rounded(median(values));
  const peerValue = peer ? rounded(median(peer.values)) : null;
  const ratio = peerValue === null ? null : rounded(value / peerValue);
  const judgement = judged(aim, value, ratio, unit);
  return { name, value, unit, peer: peer?.name ?? null, peerValue, ratio, ...judgement, note: note ?? null };
}

/** A figure that cannot be measured on this machine, and why. */
export function unmeasured({ name, unit, peer, aim, why }: Unmeasured): Figure {
  const words = aim && aimWords(aim, unit);
  return { name, value: null, unit, peer, peerValue: null, ratio: null, aim: words, met: null, note: why };
}

export interface Unmeasured {
  readonly name: string;
  readonly unit: string;
  readonly peer: string | null;
  readonly aim: Aim;
  readonly why: string;
}

function judged(
  aim: Aim,
  value: number,
  ratio: number | null,
  unit: string,
): { readonly aim: string | null; readonly met: boolean | null } {
  if (aim === null) return { aim: null, met: null };
  const words = aimWords(aim, unit);
  if ('valueAtMost' in aim) return { aim: words, met: value <= aim.valueAtMost };
  if ('valueAtLeast' in aim) return { aim: words, met: value >= aim.valueAtLeast };
  if (ratio === null) throw new Error('an aim for the ratio needs a peer');
  return { aim: words, met: 'ratioAtMost' in aim ? ratio <= aim.ratioAtMost : ratio >= aim.ratioAtLeast };
}

function aimWords(aim: NonNullable<Aim>, unit: string): string {
  if ('valueAtMost' in aim) return `≤ ${aim.valueAtMost} ${unit}`;
  if ('valueAtLeast' in aim) return `≥ ${aim.valueAtLeast} ${unit}`;
  return 'ratioAtMost' in aim ? `ratio ≤ ${aim.ratioAtMost}` : `ratio ≥ ${aim.ratioAtLeast}`;
}

/** The middle one; of an even number the mean of the two. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new Error('nothing was measured');
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1
    ? (sorted[middle] as number)
    : ((sorted[middle - 1] as number) + (sorted[middle] as number)) / 2;
}

/** The value that this share of all does not exceed; NaN of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN;
}

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
