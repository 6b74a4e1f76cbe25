/** A stretch in which nothing ran (people were thinking), drawn short whatever it took. Shares are of the whole width. */
export interface Pause {
  readonly at: number;
  readonly width: number;
  readonly seconds: number;
}

export interface TimeScale {
  /** Where an instant (epoch milliseconds) is, from 0 to 1. */
  at(time: number): number;
  readonly pauses: readonly Pause[];
  /** Round times since the beginning, few enough to be read. */
  readonly ticks: readonly { readonly at: number; readonly seconds: number }[];
}

/** An idle stretch is cut when it is longer than this share of all the work: else it would crush the work to a line. */
const CUT_FROM_SHARE = 0.2;
const CUT_FROM_MILLISECONDS = 2_000;
const PAUSE_WIDTH = 0.07;
/** All pauses together, however many there are. */
const PAUSES_WIDTH = 0.4;

const ROUND_SECONDS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 14_400, 43_200];
const TICKS = 6;
const TICK_DISTANCE = 0.08;

/** Time along an axis: linear where something ran, cut where nothing did. `spans` are [from, to] in epoch milliseconds. */
export function timeScale(spans: readonly (readonly [from: number, to: number])[]): TimeScale {
  const busy = merged(spans);
  const begin = busy[0]?.[0] ?? 0;
  const work = busy.reduce((sum, [from, to]) => sum + to - from, 0);
  const isCut = (idle: number) => idle > CUT_FROM_MILLISECONDS && idle > work * CUT_FROM_SHARE;
  const idles = busy.slice(1).map(([from], index) => ({ from: busy[index]?.[1] ?? from, to: from }));
  const cuts = idles.filter(({ from, to }) => isCut(to - from));
  const end = busy.at(-1)?.[1] ?? begin;
  const linear = end - begin - cuts.reduce((sum, { from, to }) => sum + to - from, 0);
  // Where everything happened in instants there is nothing but pauses.
  const widest = linear > 0 ? PAUSES_WIDTH : 1;
  const pauseWidth = Math.min(linear > 0 ? PAUSE_WIDTH : 1, widest / Math.max(1, cuts.length));
  const perMillisecond = linear > 0 ? (1 - pauseWidth * cuts.length) / linear : 0;

  const at = (time: number) => {
    const clamped = Math.min(Math.max(time, begin), end);
    let ran = clamped - begin;
    let paused = 0;
    for (const { from, to } of cuts) {
      if (clamped <= from) break;
      const within = Math.min(clamped, to) - from;
      ran -= within;
      paused += within / (to - from);
    }
    return ran * perMillisecond + paused * pauseWidth;
  };
  const pauses = cuts.map(({ from, to }) => ({ at: at(from), width: pauseWidth, seconds: (to - from) / 1_000 }));
  return { at, pauses, ticks: ticksOf(begin, end, linear, cuts, at) };
}

function ticksOf(
  begin: number,
  end: number,
  linear: number,
  cuts: readonly { readonly from: number; readonly to: number }[],
  at: (time: number) => number,
): TimeScale['ticks'] {
  const step = ROUND_SECONDS.find((seconds) => linear / 1_000 / seconds <= TICKS) ?? 86_400;
  const ticks: { at: number; seconds: number }[] = [];
  // Each stretch between two cuts by itself: a pause of days has no ticks, and costs no steps.
  const stretches = [begin, ...cuts.map(({ to }) => to)].map(
    (from, index) => [from, cuts[index]?.from ?? end] as const,
  );
  for (const [from, to] of stretches) {
    const first = Math.ceil((from - begin) / 1_000 / step);
    for (let count = first; begin + count * step * 1_000 <= to; count += 1) {
      const share = at(begin + count * step * 1_000);
      const nearest = Math.max(ticks.at(-1)?.at ?? -1, pauseBefore(cuts, from, at));
      if (share - nearest >= TICK_DISTANCE || ticks.length === 0) ticks.push({ at: share, seconds: count * step });
    }
  }
  return ticks;
}

/** The middle of the pause that ends where a stretch begins: its label stands there. */
function pauseBefore(
  cuts: readonly { readonly from: number; readonly to: number }[],
  stretchFrom: number,
  at: (time: number) => number,
): number {
  const cut = cuts.find(({ to }) => to === stretchFrom);
  return cut ? (at(cut.from) + at(cut.to)) / 2 : -1;
}

function merged(spans: readonly (readonly [number, number])[]): [number, number][] {
  const result: [number, number][] = [];
  for (const [from, to] of spans.toSorted((a, b) => a[0] - b[0])) {
    const last = result.at(-1);
    if (last && from <= last[1]) last[1] = Math.max(last[1], to);
    else result.push([from, to]);
  }
  return result;
}
