import { shellExpression } from '../../../core/shell-pattern';

/**
 * Shell patterns as GNU tar's `--exclude` reads them: `*` and `?` match slashes too, a pattern may start behind any slash,
 * and what it matches is left out with everything below it. They are matched against the path from the root's own name on
 * (`ultramarket/logs/today.log`), so that where an application is installed does not decide what is kept: below `/tmp`,
 * the pattern for an application's `tmp` folders would leave out everything.
 *
 * Paths are bytes and come as latin1 text, one character a byte.
 */
export function excludeMatcher(patterns: readonly string[]): (path: string) => boolean {
  const expressions = patterns.map((pattern) => new RegExp(`(?:^|/)${translate(pattern)}(?:$|/)`, 's'));
  return (path) => expressions.some((expression) => expression.test(path));
}

const translate = (pattern: string) =>
  shellExpression(Buffer.from(pattern.replace(/\/$/, ''), 'utf8').toString('latin1'));
