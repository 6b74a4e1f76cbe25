import type { Journal } from './journal-reader';

export interface LoadSummary {
  sent: number;
  acknowledged: number;
  /** Orders whose fate the client does not know. */
  ambiguous: number;
  /** Orders that were certainly not placed. */
  notPlaced: number;
  acknowledgedBySite: Record<string, number>;
  /** The most acknowledgements within any one second: the peak write rate of the shop as its customers saw it. */
  peakAcknowledgedPerSecond: number;
  /** The longest time between two acknowledgements that follow each other; null with fewer than two. */
  longestGap: Gap | null;
}

export interface Gap {
  fromMs: number;
  toMs: number;
  seconds: number;
}

export function summarise(journal: Journal): LoadSummary {
  const orders = [...journal.orders.values()];
  const acknowledged = orders.flatMap(({ acknowledged: reply }) => reply ?? []);
  const open = orders.filter((order) => !order.acknowledged);
  const notPlaced = open.filter(({ attempts }) => attempts.every(({ outcome }) => outcome === 'not-placed')).length;
  const bySite = Map.groupBy(acknowledged, ({ site }) => site);
  const times = acknowledged.map(({ atMs }) => atMs).sort((a, b) => a - b);
  return {
    sent: orders.length,
    acknowledged: acknowledged.length,
    ambiguous: open.length - notPlaced,
    notPlaced,
    acknowledgedBySite: Object.fromEntries([...bySite].map(([site, replies]) => [site, replies.length])),
    peakAcknowledgedPerSecond: peakPerSecond(times),
    longestGap: longestGap(times),
  };
}

/** The most of the sorted times that lie within any window of one second. */
export function peakPerSecond(timesMs: number[]): number {
  let from = 0;
  let peak = 0;
  for (const [index, time] of timesMs.entries()) {
    while (time - (timesMs[from] ?? time) >= 1_000) from += 1;
    peak = Math.max(peak, index - from + 1);
  }
  return peak;
}

function longestGap(timesMs: number[]): Gap | null {
  let longest: Gap | null = null;
  for (const [index, toMs] of timesMs.entries()) {
    const fromMs = timesMs[index - 1];
    if (fromMs === undefined || toMs - fromMs <= (longest ? longest.toMs - longest.fromMs : -1)) continue;
    longest = { fromMs, toMs, seconds: (toMs - fromMs) / 1_000 };
  }
  return longest;
}
