/**
 * Matches a whole name as a shell does: `*` any number of characters, `?` one, `[a-z]` one of them, `[!a-z]` one that is not.
 * A pattern with a slash is matched against the whole path, where `*` crosses slashes too; one without against the last name.
 */
export function shellPattern(pattern: string): (path: string) => boolean {
  const expression = new RegExp(`^${shellExpression(pattern)}$`, 's');
  const isWhole = pattern.includes('/');
  return (path) => expression.test(isWhole ? path : path.slice(path.lastIndexOf('/') + 1));
}

/** The same as part of a regular expression with the flag `s`. */
export function shellExpression(pattern: string): string {
  return pattern.replace(/\[!?\]?[^\]]*\]|[\s\S]/g, (token) => {
    if (token === '*') return '.*';
    if (token === '?') return '.';
    if (token.length > 1) return token.replace('[!', '[^').replaceAll('\\', '\\\\');
    return token.replace(/[\\^$.|+(){}[\]]/, '\\$&');
  });
}
