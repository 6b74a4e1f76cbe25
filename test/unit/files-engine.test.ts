import { excludeMatcher } from '../../adapters/engines/files/exclude-patterns';
import { unescapeName } from '../../adapters/engines/files/tar-process';

describe('exclude patterns mean what they mean to tar', () => {
  const strategy = excludeMatcher(['*/node_modules/*', '*/logs/*', '*/tmp/*']);
  test.each([
    ['ultramarket/node_modules/left-pad', true],
    ['ultramarket/src/node_modules/left-pad/index.js', true],
    ['ultramarket/logs/today.log', true],
    ['ultramarket/tmp/x', true],
    ['ultramarket/node_modules', false],
    ['ultramarket/logs', false],
    ['ultramarket/catalogs/x', false],
    ['tmp/x', false],
  ])('%s: %s', (path, excluded) => expect(strategy(path)).toBe(excluded));

  test.each([
    ['*.log', 'a/b.log', true],
    ['*.log', 'a/b.log/inside', true],
    ['*.log', 'a/b.logs', false],
    ['b', 'a/b', true],
    ['b', 'a/ab', false],
    ['cache/', 'a/cache', true],
    ['?[0-9]', 'a/x7', true],
    ['?[!0-9]', 'a/x7', false],
    ['a+(b)', 'a+(b)', true],
    ['a.b', 'axb', false],
    ['ü*', Buffer.from('a/über').toString('latin1'), true],
    ['line*', 'a/line\nbreak', true],
  ])('%s and %s: %s', (pattern, path, excluded) => expect(excludeMatcher([pattern])(path)).toBe(excluded));
});

test.each([
  ['plain', 'plain'],
  ['new\\nline', 'new\nline'],
  ['back\\\\n', 'back\\n'],
  ['\\303\\274', '\xc3\xbc'],
  ['sp\\ ace\\t', 'sp ace\t'],
])('tar calls it %s', (escaped, name) => expect(unescapeName(escaped).toString('latin1')).toBe(name));
