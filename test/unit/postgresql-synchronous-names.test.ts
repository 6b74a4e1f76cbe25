import { countsArchiver, withoutArchiver } from '../../adapters/engines/postgresql/synchronous-names';

test.each([
  ['', false],
  ['db2', false],
  ['"drctl-standby", db2', false],
  ['*', true],
  ['"*"', true],
  ['FIRST 1 (db2, *)', true],
  ['ANY 2 (db2, "DRCTL", db3)', true],
  ['2 (db2, db3)', false],
])('synchronous_standby_names = %j counts the archiver: %s', (setting, counts) => {
  expect(countsArchiver(setting)).toBe(counts);
});

test.each([
  ['*', ['db2'], '"db2"'],
  ['ANY 1 (*)', ['db2', 'odd "name"'], 'ANY 1 ("db2", "odd ""name""")'],
  ['first 2 (db2, drctl, *)', ['db2', 'db3'], 'first 2 ("db2", "db3")'],
  ['drctl', [], null],
  ['*', [], null],
])('%j with %j connected is better said so', (setting, connected, better) => {
  expect(withoutArchiver(setting, connected)).toBe(better);
});
