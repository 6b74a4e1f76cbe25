import { countOf, formatBytes } from '../clock';
import { clockText, secondsText } from '../report/figures';
import type { ReadinessFacts } from './facts';
import type { Section } from './plot';
import type { CopyStanding, ReadinessReport } from './report';
import { costOfParts } from './storage';
import { moneyText } from './words';

/** Each copy of each store; null where that could not be read. */
export function copiesOf({ copies, stored, targets: { prices } }: ReadinessFacts): CopyStanding[] | null {
  if (copies === null) return null;
  return copies.map((each) => {
    const parts = stored?.parts.filter(({ repository, store }) => repository === each.copy && store === each.store);
    return {
      ...each,
      bytes: parts ? parts.reduce((sum, { bytes }) => sum + bytes, 0) : null,
      perMonth: parts ? costOfParts(parts, prices) : null,
      currency: prices?.currency ?? null,
    };
  });
}

export function copiesSection({ copies }: ReadinessReport): Section | null {
  if (!copies || copies.length === 0) return null;
  // What could not be seen is not known to be behind.
  const behind = copies.filter(({ lagSeconds, maxLagSeconds, problem }) =>
    lagSeconds === null ? problem === null : lagSeconds > maxLagSeconds,
  );
  const restorable = copies.filter(({ restorableUntil }) => restorableUntil !== null);
  return {
    heading: 'Copies',
    words: [
      `From ${restorable.length} of ${copies.length} the store can be restored alone.`,
      behind.length === 0
        ? 'None that was seen is behind by more than its config allows.'
        : `Behind: ${behind.map(nameOf).join(', ')}.`,
      ...copies.flatMap((each) =>
        each.problem === null ? [] : [`Could not be seen: ${nameOf(each)} (${each.problem}).`],
      ),
    ].join(' '),
    plots: [],
    table: {
      header: ['store', 'copy', 'restorable until', 'behind', 'verified', 'size', 'per month'],
      rows: copies.map((each) => [
        each.store,
        each.copy,
        each.restorableUntil === null ? 'not known' : clockText(each.restorableUntil),
        behindText(each),
        verifiedText(each),
        each.bytes === null ? 'not known' : formatBytes(each.bytes),
        moneyText(each.perMonth, each.currency),
      ]),
    },
  };
}

const nameOf = ({ store, copy }: CopyStanding) => `${store} in ${copy}`;

function behindText({ lagSeconds, maxLagSeconds, notCopied, problem }: CopyStanding): string {
  const allowed = `of ${secondsText(maxLagSeconds)}`;
  const lag =
    lagSeconds !== null ? `${secondsText(lagSeconds)} ${allowed}` : problem === null ? 'never complete' : 'not known';
  return notCopied > 0 ? `${lag}; without ${countOf(notCopied, 'damaged object')}` : lag;
}

function verifiedText({ verified, problem }: CopyStanding): string {
  if (verified) return `${verified.kind} ${verified.result} ${verified.at.slice(0, 10)}`;
  return problem === null ? 'never' : 'not known';
}
