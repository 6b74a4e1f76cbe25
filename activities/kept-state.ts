import { failure, hasCode, reasonOf } from '../core/errors';
import type { Repository } from '../core/repository';

/**
 * What a look keeps for the next one; null where none did. Throws BackupCorrupt where it is not as it was written: nothing of
 * it is believed then, and the next look replaces it (`unlessDamaged`).
 */
export async function readKept<T>(
  control: Pick<Repository, 'read' | 'location'>,
  key: string,
  isWhole: (value: unknown) => value is T,
): Promise<T | null> {
  let value: unknown;
  try {
    value = JSON.parse((await control.read(key)).toString('utf8'));
  } catch (error) {
    if (hasCode(error, 'NotFound')) return null;
    if (!(error instanceof SyntaxError)) throw error;
  }
  if (isWhole(value)) return value;
  throw failure('BackupCorrupt', `${key} in ${control.location} is damaged, and the next look replaces it`, {
    data: 'No backup is concerned: it holds what a watch had found.',
    next: 'Nothing, unless it comes back: then find out who else writes to that repository.',
    context: { key },
  });
}

/** `none` where what is kept is damaged, with the problem for people to see; whatever else fails is thrown. */
export async function unlessDamaged<T>(
  kept: Promise<T>,
  none: T,
): Promise<{ readonly value: T; readonly problem: string | null }> {
  try {
    return { value: await kept, problem: null };
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    return { value: none, problem: reasonOf(error) };
  }
}

export function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
