import * as z from 'zod';
import { failure } from '../../core/errors';
import type { Repository } from '../../core/repository';

/** Written so that a person can read it in the repository. The same value always gives the same bytes. */
export function toBytes(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

/** Reads what `toBytes` wrote. Throws BackupCorrupt that names the key, the field and what is wrong with it. */
export function parseStored<T>(repository: Repository, key: string, bytes: Buffer, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw unreadable(repository, key, `it is not JSON (${(cause as Error).message})`, cause);
  }
  const version = (value as { formatVersion?: unknown } | null)?.formatVersion;
  if (typeof version === 'number' && version > 1) {
    throw failure(
      'ConfigInvalid',
      `${key} in ${repository.location} has format version ${version}; this drctl reads version 1`,
      {
        next: 'Use the version of drctl that wrote it, or a newer one.',
        context: { key, repository: repository.name },
      },
    );
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw unreadable(repository, key, z.prettifyError(parsed.error).replaceAll(/\s*\n\s*/g, ' '), parsed.error);
}

export function unreadable(repository: Repository, key: string, why: string, cause?: unknown): Error {
  return failure('BackupCorrupt', `${key} in ${repository.location} cannot be read: ${why}`, {
    context: { key, repository: repository.name },
    cause,
  });
}
