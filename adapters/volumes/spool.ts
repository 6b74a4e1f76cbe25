import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { failure } from '../../core/errors';
import { isBackupId } from '../../core/layout';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { diskFailure, makeDirectory, requireFreeBytes, syncDirectory } from '../filesystem/durable';
import { createLocalCopies, type LocalCopies } from './local-copies';
import { DirectoryAttempt, type SpoolAttempt } from './spool-attempt';
import { followSpool, newestAttempt, type SpoolEvent } from './spool-follower';
import type { VolumeCodec } from './volume-writer';

/** Kept free beside what is expected, for the server's own files when it shares the disk with the spool. */
const RESERVE_BYTES = 256 * 2 ** 20;

export interface SpoolRequest {
  readonly store: string;
  readonly backupId: string;
  /** The number of the attempt; a greater one is taken when the spool has it already (a workflow that was reset). */
  readonly atLeast: number;
  /** Bytes that will be spooled at the least, for the check of free space beforehand. */
  readonly leastBytes: number;
  readonly targetVolumeBytes: number;
}

export interface SpooledBackup {
  readonly store: string;
  readonly backupId: string;
  readonly sizeBytes: number;
  readonly modifiedAt: string;
}

/** The folder of one host where dumps wait for their upload, and where copies of them stay afterwards. */
export interface Spool {
  readonly directory: string;
  /** Opens a new attempt, which makes older ones of the backup obsolete and removes them. Throws DiskFull beforehand. */
  begin(request: SpoolRequest): Promise<SpoolAttempt>;
  /**
   * Follows the newest attempt of a backup, also one that another process writes or that begins later. Returns after
   * `done`. After `failed` it waits for a newer attempt: leave the loop, or abort the signal, to stop waiting.
   */
  follow(store: string, backupId: string, signal: AbortSignal): AsyncGenerator<SpoolEvent, void>;
  /** Removes every attempt of the backup; fine when there is none. */
  remove(store: string, backupId: string): Promise<void>;
  /** What is in the spool, the copies of stored backups left out. */
  list(): Promise<SpooledBackup[]>;
  /** Of backups that are stored already: the local tier of retention. */
  readonly copies: LocalCopies;
}

export interface SpoolSettings {
  readonly directory: string;
  readonly application: string;
  readonly codec: VolumeCodec;
  /** What volumes are encrypted by on their way into the spool; left out: they are not. */
  readonly cipher?: ObjectCipher | null;
  readonly reserveBytes?: number;
  /** Copies of stored backups leave so much of the disk free, from 0 to 1. */
  readonly freeShare?: number;
}

/** `<directory>/<application>/<store>/<backupId>/attempt-<n>/`. */
export function createSpool(settings: SpoolSettings): Spool {
  const { codec, cipher = null, reserveBytes = RESERVE_BYTES } = settings;
  const root = path.join(settings.directory, settings.application);
  const folder = (store: string, backupId: string) => path.join(root, checked(store), checked(backupId));
  const copies = createLocalCopies(root, settings.freeShare);

  return {
    directory: root,
    copies,

    async begin({ store, backupId, atLeast, leastBytes, targetVolumeBytes }: SpoolRequest) {
      const backup = folder(store, backupId);
      try {
        await makeDirectory(backup);
        const older = await newestAttempt(backup);
        // The one before may have failed for want of room, however little was expected: a dump comes before any copy.
        await copies.makeRoom(older === null ? leastBytes + reserveBytes : Infinity);
        await requireFreeBytes(backup, leastBytes + reserveBytes, 'starting a dump into the spool');
        const attempt = Math.max(atLeast, (older ?? 0) + 1);
        const directory = path.join(backup, `attempt-${attempt}`);
        // Fails for a second dump of the same backup at the same moment, which then is no later attempt.
        await fs.mkdir(directory, { mode: 0o750 });
        await syncDirectory(backup);
        await removeOlder(backup, attempt);
        const boundTo = `${store}/${backupId}/attempt-${attempt}`;
        return new DirectoryAttempt({ attempt, directory, boundTo, targetVolumeBytes, codec, cipher });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'EEXIST') {
          throw failure('LockHeld', `another dump of ${store} ${backupId} began in ${backup} at the same moment`);
        }
        throw diskFailure(error, backup, 'starting a dump into the spool');
      }
    },

    follow: (store: string, backupId: string, signal: AbortSignal): AsyncGenerator<SpoolEvent, void> =>
      followSpool(folder(store, backupId), signal),

    async remove(store, backupId) {
      await fs.rm(folder(store, backupId), { recursive: true, force: true });
    },

    async list() {
      const found: SpooledBackup[] = [];
      const kept = new Set((await copies.list()).map(({ store, backupId }) => `${store}/${backupId}`));
      for (const store of await namesIn(root)) {
        for (const backupId of await namesIn(path.join(root, store))) {
          if (!isBackupId(backupId) || kept.has(`${store}/${backupId}`)) continue;
          found.push({ store, backupId, ...(await measure(path.join(root, store, backupId))) });
        }
      }
      return found;
    },
  };
}

function checked(name: string): string {
  if (/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name)) return name;
  throw failure('UsageInvalid', `"${name}" cannot be a folder of the spool: letters, digits, ".", "_" and "-" only`);
}

async function removeOlder(backup: string, attempt: number): Promise<void> {
  for (const name of await namesIn(backup)) {
    const number = /^attempt-(\d+)$/.exec(name)?.[1];
    if (number && Number(number) < attempt) await fs.rm(path.join(backup, name), { recursive: true, force: true });
  }
}

async function namesIn(directory: string): Promise<string[]> {
  try {
    return (await fs.readdir(directory)).toSorted();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

async function measure(directory: string): Promise<{ sizeBytes: number; modifiedAt: string }> {
  let sizeBytes = 0;
  let modifiedMs = 0;
  for (const entry of await fs.readdir(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const stat = await fs.stat(path.join(entry.parentPath, entry.name)).catch(() => null);
    sizeBytes += stat?.size ?? 0;
    modifiedMs = Math.max(modifiedMs, stat?.mtimeMs ?? 0);
  }
  return { sizeBytes, modifiedAt: new Date(modifiedMs).toISOString() };
}
