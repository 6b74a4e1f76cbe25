import type { ContentEntry } from '../../core/backup-contents';
import { shellPattern } from '../../core/shell-pattern';
import { changeOf, PathVersions, treeChanges } from '../../core/tree-changes';

const entry = (path: string, more: Partial<ContentEntry> = {}): ContentEntry => ({
  path,
  type: 'file',
  sizeBytes: 1,
  modifiedAt: '2026-11-22T02:00:00.000Z',
  mode: '0644',
  uid: 0,
  gid: 0,
  target: null,
  backup: 'b',
  volume: 'v',
  state: 'as it was',
  ...more,
});

async function* each(...entries: ContentEntry[]): AsyncGenerator<ContentEntry> {
  yield* entries;
}

test.each<[string, Partial<ContentEntry>, Partial<ContentEntry>, string | null]>([
  ['nothing', {}, {}, null],
  ['its size', {}, { sizeBytes: 2, state: 'x' }, 'changed'],
  ['its inode alone: perhaps its content, under the old time', {}, { state: 'x' }, 'changed'],
  ['its mode', {}, { mode: '0600', state: 'x' }, 'attributes'],
  ['its mode and content', {}, { mode: '0600', sizeBytes: 2, state: 'x' }, 'changed'],
  ['its kind', {}, { type: 'link', target: 'a' }, 'type'],
  ['a name in a directory', { type: 'directory' }, { type: 'directory', state: 'x' }, null],
  ['the owner of a directory', { type: 'directory' }, { type: 'directory', uid: 5, state: 'x' }, 'attributes'],
  ['where a link points', { type: 'link', target: 'a' }, { type: 'link', target: 'b', state: 'x' }, 'changed'],
  ['the time of a link', { type: 'link', target: 'a' }, { type: 'link', target: 'a', state: 'x' }, null],
])('what changed is %s', (_, before, after, kind) => {
  expect(changeOf(entry('a', before), entry('a', after))).toBe(kind);
});

test('changes are told by path', async () => {
  const before = each(entry('b'), entry('a'), entry('d'));
  const changes = await treeChanges(before, each(entry('d', { state: 'x' }), entry('c'), entry('b')));
  expect(changes.map(({ path, kind }) => [path, kind])).toEqual([
    ['a', 'removed'],
    ['c', 'added'],
    ['d', 'changed'],
  ]);
});

test('versions of a name, also of one that came back', () => {
  const versions = new PathVersions();
  for (const backup of ['1', '2', '4']) versions.add(backup, entry('a'));
  versions.add('5', entry('a', { sizeBytes: 2, state: 'x' }));
  expect(versions.all()).toMatchObject([
    [
      'a',
      [
        { from: '1', until: '4', backups: 3 },
        { from: '5', until: '5', backups: 1 },
      ],
    ],
  ]);
});

test.each([
  ['*.pem', '/etc/ssl/a.pem', true],
  ['*.pem', '/etc/a.pem/b', false],
  ['/etc/*', '/etc/ssl/a.pem', true],
  ['/etc/*', '/opt/etc/a', false],
  ['a?[0-9]', '/x/ab7', true],
  ['a?[!0-9]', '/x/ab7', false],
  ['a+(b).c', '/a+(b).c', true],
])('%s and %s: %s', (pattern, path, matches) => expect(shellPattern(pattern)(path)).toBe(matches));
