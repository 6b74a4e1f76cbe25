import { createHash } from 'node:crypto';
import * as z from 'zod';
import { failure } from '../../core/errors';
import type { Repository } from '../../core/repository';

/** The same value always gives the same bytes. */
export function toBytes(value: object): Buffer {
  return Buffer.from(`${JSON.stringify(value, null, 2)}\n`);
}

/** The last two lines of a sealed document; what they hold is digested with everything before them. */
const SEAL = /^ {2}"sha256": "(?<digest>[0-9a-f]{64})"\n\}\n$/;
const SEAL_BYTES = '  "sha256": "'.length + 64 + '"\n}\n'.length;

/**
 * As a document is stored: a person can read it, and its last field is the SHA-256 of all lines before that one, so that
 * `head -n -2 FILE | sha256sum` tells whether it is as it was written (docs/restore-by-hand.md).
 */
export function sealed(value: object): Buffer {
  const lines = Buffer.from(`${JSON.stringify(value, null, 2).slice(0, -'\n}'.length)},\n`);
  return Buffer.concat([lines, Buffer.from(`  "sha256": "${sha256Of(lines)}"\n}\n`)]);
}

/**
 * Reads what `sealed` wrote, and what was stored before documents were sealed. Throws BackupCorrupt that names the key, the
 * field and what is wrong with it.
 */
export function parseStored<T>(repository: Repository, key: string, bytes: Buffer, schema: z.ZodType<T>): T {
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8'));
  } catch (cause) {
    throw unreadable(repository, key, `it is not JSON (${(cause as Error).message})`, cause);
  }
  // Before anything in it is believed, its format version too.
  if (typeof value === 'object' && value !== null && 'sha256' in value) {
    requireSeal(repository, key, bytes);
    delete value.sha256;
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

function requireSeal(repository: Repository, key: string, bytes: Buffer): void {
  const noted = SEAL.exec(bytes.subarray(-SEAL_BYTES).toString('latin1'))?.groups?.['digest'];
  const found = sha256Of(bytes.subarray(0, -SEAL_BYTES));
  if (noted === found) return;
  throw unreadable(
    repository,
    key,
    `the SHA-256 of its lines is ${found}, and its last field says ${noted ?? 'nothing'}`,
  );
}

function sha256Of(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

export function unreadable(repository: Repository, key: string, why: string, cause?: unknown): Error {
  return failure('BackupCorrupt', `${key} in ${repository.location} cannot be read: ${why}`, {
    context: { key, repository: repository.name },
    cause,
  });
}
