import { countOf, formatBytes } from '../clock';
import type { Section } from './plot';
import type { CapacitySection, ReadinessReport } from './report';
import { asSentence, moneyText } from './words';

/** What is stored, how it grows, and what that costs. */
export function storageSections(report: ReadinessReport): Section[] {
  return [capacity(report), cost(report)].filter((section) => section !== null);
}

function capacity({ capacity: found }: ReadinessReport): Section | null {
  if (!found) return null;
  const { bytes, objects, parts, addedByDay, disks } = found;
  const most = Math.max(1, ...addedByDay.map((day) => day.bytes));
  return {
    heading: 'Capacity and growth',
    words: [
      `${formatBytes(bytes)} in ${countOf(objects, 'object')} when this report was made.`,
      growthText(found),
      ...disks.map((disk) => `${asSentence(disk)}.`),
    ].join(' '),
    plots: [
      {
        kind: 'days',
        title: 'Stored on each day and still there',
        summary: `${formatBytes(found.addedBytes)} in all, ${formatBytes(most)} on the day with most`,
        series: [{ name: 'stored', look: 'plain' }],
        days: addedByDay.map(({ day, bytes: added }) => ({ day, values: [added], label: formatBytes(added) })),
        top: most,
        topLabel: formatBytes(most),
      },
    ],
    table: {
      header: ['store', 'what', 'repository', 'storage class', 'objects', 'size'],
      rows: parts.map((part) => [
        ...[
          part.store,
          part.content,
          part.repository,
          part.storageClass,
          String(part.objects),
          formatBytes(part.bytes),
        ],
      ]),
    },
  };
}

function growthText({ bytes, bytesBefore, addedBytes }: CapacitySection): string {
  const added = `${formatBytes(addedBytes)} of it was stored in this time.`;
  if (bytesBefore === null) return `${added} How it grew is not known: there is no report of the month before.`;
  const change = bytes - bytesBefore;
  const [more, sign] = change < 0 ? ['less', -1] : ['more', 1];
  const inYear = change > 0 ? ` At that rate it is ${formatBytes(bytes + 12 * change)} in a year.` : '';
  return `${added} That is ${formatBytes(sign * change)} ${more} than a month before.${inYear}`;
}

function cost({ cost: found }: ReadinessReport): Section | null {
  if (!found || found.rows.length === 0) return null;
  const { currency, rows, knownPerMonth, unpricedBytes } = found;
  const priced = rows.some(({ perMonth }) => perMonth !== null);
  const missing =
    unpricedBytes > 0 ? `What ${formatBytes(unpricedBytes)} cost is not known: the config has no price for it.` : '';
  const known = priced
    ? `${moneyText(knownPerMonth, currency)} a month for storage${unpricedBytes > 0 ? ' at least' : ''}.`
    : '';
  return {
    heading: 'Cost by storage class',
    words: [known, missing, 'Requests, transfer and deletion before a minimum time come on top.']
      .filter((part) => part !== '')
      .join(' '),
    plots: [],
    table: {
      header: ['repository', 'storage class', 'size', 'per GiB and month', 'per month'],
      rows: rows.map(({ repository, storageClass, bytes, perGibMonth, perMonth }) => [
        repository,
        storageClass,
        formatBytes(bytes),
        perGibMonth === null ? 'no price' : `${perGibMonth} ${currency}`,
        moneyText(perMonth, currency),
      ]),
    },
  };
}
