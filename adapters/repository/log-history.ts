import { createHash } from 'node:crypto';
import { failure, hasCode } from '../../core/errors';
import { layout } from '../../core/layout';
import type { LogArchive } from '../../core/log-archive';
import type { Repository } from '../../core/repository';

/** Beside each history file, as `sha256sum` writes it: a person checks it with `sha256sum --check`. */
const HISTORY_DIGEST = '.sha256';

/** What tells how the lineages of a log hang together: `catalog/<store>/history/<name>`, small files that are kept for ever. */
export function createLogHistory(repository: Repository, store: string): Pick<LogArchive, 'putHistory' | 'history'> {
  async function readOrNull(key: string): Promise<Buffer | null> {
    return repository.read(key).catch((error: unknown) => {
      if (hasCode(error, 'NotFound')) return null;
      throw error;
    });
  }

  function damagedHistory(key: string): Error {
    const why = `it and its SHA-256 in ${key}${HISTORY_DIGEST} differ`;
    return failure('BackupCorrupt', `${key} in ${repository.location} cannot be used: ${why}`, {
      context: { key, repository: repository.name },
    });
  }

  return {
    async putHistory(name, bytes, { ifAbsent = false } = {}) {
      const key = layout.history(store, name);
      const digest = historyDigest(name, bytes);
      const [there, noted] = await Promise.all([key, `${key}${HISTORY_DIGEST}`].map(readOrNull));
      // Of a file and its digest one may be damaged: the other proves whose bytes are stored.
      const isOurs = there?.equals(bytes) || noted?.equals(digest);
      if (ifAbsent && there && !isOurs) {
        throw failure('LockHeld', `${key} exists already in ${repository.location} with other content`, {
          context: { key },
        });
      }
      const options = { ifAbsent: ifAbsent && !isOurs };
      // First, so that a file is never without: a digest whose file was not stored any more says nothing.
      await repository.put(`${key}${HISTORY_DIGEST}`, digest, options);
      await repository.put(key, bytes, options);
    },

    async history() {
      const prefix = layout.history(store);
      const stored = new Map<string, Buffer>();
      for await (const { key } of repository.list(prefix))
        stored.set(key.slice(prefix.length), await repository.read(key));
      const files = [...stored].filter(([name]) => !name.endsWith(HISTORY_DIGEST));
      return new Map(
        files.map(([name, bytes]) => {
          const digest = stored.get(`${name}${HISTORY_DIGEST}`);
          // Those that were stored before there were digests have none.
          const intact = digest === undefined || digest.equals(historyDigest(name, bytes));
          return [name, intact ? bytes : damagedHistory(`${prefix}${name}`)];
        }),
      );
    },
  };
}

function historyDigest(name: string, bytes: Uint8Array): Buffer {
  return Buffer.from(`${createHash('sha256').update(bytes).digest('hex')}  ${name}\n`);
}
