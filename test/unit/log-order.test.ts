import { arrange } from '../../adapters/repository/log-order';
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
  const { visible, replaced } = arrange(entries, { compare });
  expect(visible.map(({ name }) => name)).toEqual(expected);
  const hidden = replaced.flatMap(({ slices }) => slices);
  expect(new Set([...visible, ...hidden])).toEqual(new Set(entries)); // each is one or the other
});

test('each replaced slice is told with the segment that holds it', () => {
  const entries = [
    ...[entry('segment', 10, 20), entry('segment', 1, 10), entry('segment', 2, 9)],
    ...[entry('slice', 1, 4), entry('slice', 4, 10), entry('slice', 12, 20), entry('slice', 19, 21)],
  ];
  const { replaced } = arrange(entries, { compare });
  expect(replaced.map(({ segment, slices }) => [segment.name, slices.map(({ name }) => name)])).toEqual([
    ['segment 1-10', ['slice 1-4', 'slice 4-10']],
    ['segment 10-20', ['slice 12-20']],
  ]);
});
