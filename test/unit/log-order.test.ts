import { hideReplaced } from '../../adapters/repository/log-order';
import type { LogEntry } from '../../core/log-archive';

const at = (value: number) => ({ engine: 'redis', lineage: 'a', value: String(value) });
const compare = (a: { value: string }, b: { value: string }) => Number(a.value) - Number(b.value);

function entry(kind: LogEntry['kind'], from: number, to: number): LogEntry {
  const name = `${kind} ${from}-${to}`;
  return { key: name, lineage: 'a', name, kind, from: at(from), to: at(to), coversUntil: null, sizeBytes: 1 };
}

test.each<[string, LogEntry[], string[]]>([
  ['slices that touch each other', [entry('slice', 5, 9), entry('slice', 1, 5)], ['slice 1-5', 'slice 5-9']],
  [
    'an empty slice and those that began at its position: the longest is last, there the log goes on',
    [entry('slice', 5, 9), entry('slice', 5, 5), entry('slice', 5, 7)],
    ['slice 5-5', 'slice 5-7', 'slice 5-9'],
  ],
  [
    'a segment hides the slices that it replaces, not the one that leads beyond it',
    [entry('slice', 1, 5), entry('slice', 5, 11), entry('segment', 1, 10), entry('slice', 1, 10)],
    ['segment 1-10', 'slice 5-11'],
  ],
  [
    'of two segments the longer is first and hides what lies within it',
    [entry('segment', 1, 5), entry('segment', 1, 10), entry('slice', 5, 10)],
    ['segment 1-10', 'segment 1-5'],
  ],
])('%s', (_, entries, expected) => {
  expect(hideReplaced(entries, { compare }).map(({ name }) => name)).toEqual(expected);
});
