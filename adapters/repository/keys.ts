import { failure } from '../../core/errors';

/** Names that the local repository keeps for itself at the root of an application's folder. */
export const RESERVED_FOLDERS = ['.metadata', '.uploads'] as const;

const MAX_KEY_BYTES = 900;

/** Refuses what is not a plain key (see `Repository`): it could leave the prefix or mean another object elsewhere. */
export function checkKey(key: string): void {
  const segments = key.split('/');
  const bad =
    key.length === 0 ||
    key.length > MAX_KEY_BYTES ||
    !/^[\x21-\x7e]+$/.test(key) ||
    key.includes('\\') ||
    segments.some((segment) => segment === '' || segment === '.' || segment === '..') ||
    (RESERVED_FOLDERS as readonly string[]).includes(segments[0]!);
  if (bad) {
    const rule = 'ASCII without spaces, parts joined by single "/", no "." or ".." part, no "/" at an end';
    throw failure('UsageInvalid', `${JSON.stringify(key)} cannot be a key of a repository: ${rule}`);
  }
}

/** A prefix may also be empty, end with `/`, or end in the middle of a name. */
export function checkPrefix(prefix: string): void {
  if (prefix !== '') checkKey(prefix.endsWith('/') ? prefix.slice(0, -1) : prefix);
}
