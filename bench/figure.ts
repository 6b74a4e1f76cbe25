/** One measured figure beside what it is compared with. `ratio` is value ÷ peerValue; null where there is no peer. */
export interface Figure {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
  readonly peer: string | null;
  readonly peerValue: number | null;
  readonly ratio: number | null;
  /** What is to be reached, in words; null where the figure is for information. */
  readonly aim: string | null;
  readonly met: boolean | null;
}

export type Aim =
  { readonly valueAtMost: number } | { readonly ratioAtMost: number } | { readonly ratioAtLeast: number } | null;

export interface Measured {
  readonly name: string;
  readonly unit: string;
  /** Every round; the figure is their median. */
  readonly values: readonly number[];
  readonly peer?: { readonly name: string; readonly values: readonly number[] };
  readonly aim?: Aim;
}

export function figure({ name, unit, values, peer, aim = null }: Measured): Figure {
  const value = rounded(median(values));
  const peerValue = peer ? rounded(median(peer.values)) : null;
  const ratio = peerValue === null ? null : rounded(value / peerValue);
  return { name, value, unit, peer: peer?.name ?? null, peerValue, ratio, ...judged(aim, value, ratio, unit) };
}

function judged(
  aim: Aim,
  value: number,
  ratio: number | null,
  unit: string,
): { readonly aim: string | null; readonly met: boolean | null } {
  if (aim === null) return { aim: null, met: null };
  if ('valueAtMost' in aim) return { aim: `≤ ${aim.valueAtMost} ${unit}`, met: value <= aim.valueAtMost };
  if (ratio === null) throw new Error('an aim for the ratio needs a peer');
  return 'ratioAtMost' in aim
    ? { aim: `ratio ≤ ${aim.ratioAtMost}`, met: ratio <= aim.ratioAtMost }
    : { aim: `ratio ≥ ${aim.ratioAtLeast}`, met: ratio >= aim.ratioAtLeast };
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

function rounded(value: number): number {
  return Number(value.toPrecision(4));
}
