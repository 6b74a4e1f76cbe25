import { pieceName, positionAt } from '../../adapters/engines/postgresql/lsn';
import { TimelineLog } from '../../adapters/engines/postgresql/timeline-log';
import type { LogEntry } from '../../core/log-archive';
import { seededRandom } from '../support/random';

const SEGMENT = 16n * 1024n * 1024n;

function entry(from: number, to: number): LogEntry {
  const [begin, end] = [positionAt('7/1', BigInt(from)), positionAt('7/1', BigInt(to))];
  const name = pieceName(1, BigInt(from), BigInt(to), SEGMENT);
  return { key: name, lineage: '7/1', name, kind: 'slice', from: begin, to: end, coversUntil: null, sizeBytes: 1 };
}

/** What a walk along the log finds: entries that touch the one before, and lead further. */
function walk(all: readonly [number, number][], start: number, until: number | null): [number, number][] {
  const found: [number, number][] = [];
  let cursor = start;
  for (const [from, to] of all) {
    if (to <= cursor) continue;
    if (from > cursor || (until !== null && from >= until)) break;
    found.push([from, to]);
    cursor = to;
  }
  return found;
}

test('halving finds what a walk finds, in logs with holes, overlaps and entries of no use', () => {
  const { integer: below } = seededRandom('timeline-log');
  for (let round = 0; round < 500; round += 1) {
    const all = Array.from({ length: below(12) }, (): [number, number] => {
      const from = below(40);
      return [from, from + 1 + below(8)];
    }).toSorted((a, b) => a[0] - b[0] || a[1] - b[1]);
    const log = new TimelineLog(
      '7/1',
      all.map(([from, to]) => entry(from, to)),
    );
    const [start, until] = [below(45), below(2) === 0 ? null : below(50)];
    const { first, end, reaches } = log.behind(BigInt(start), until === null ? null : BigInt(until));
    const expected = walk(all, start, until);
    expect(log.entries.slice(first, end)).toEqual(expected.map(([from, to]) => entry(from, to)));
    expect(reaches).toBe(BigInt(expected.at(-1)?.[1] ?? start));
  }
});
