import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import * as z from 'zod';
import type { Artifact } from '../../core/catalog';
import { boundName, isBackupId } from '../../core/layout';
import { absent } from '../filesystem/absent';
import { writeFileDurably } from '../filesystem/durable';
import { freeSpace } from '../filesystem/free-space';

/** In the folder of a backup that is stored: what else is there is the same bytes once more. */
const KEPT = 'kept.json';

const keptSchema = z.object({ attempt: z.int(), until: z.iso.datetime().nullable() });

export interface LocalCopy {
  readonly store: string;
  readonly backupId: string;
  /** ISO 8601; null: as long as there is room. */
  readonly until: string | null;
}

/**
 * Copies of stored backups on this host's disk, for as long as the `local` of the retention table says. Nothing depends on
 * them: any of them may be removed at any time.
 */
export interface LocalCopies {
  /** Keeps what was committed; the rest of the backup's folder goes. */
  keep(store: string, backupId: string, attempt: number, until: string | null): Promise<void>;
  /** Oldest first. */
  list(): Promise<LocalCopy[]>;
  /** What all of them take, and a dump that needs it gets. */
  sizeBytes(): Promise<number>;
  /** Removes those whose time is over, and of the others the oldest while too little of the disk is free. */
  prune(now: number): Promise<LocalCopy[]>;
  /** Removes the oldest until so many bytes are free, or none is left. */
  makeRoom(neededBytes: number): Promise<void>;
  /** The file that holds the very bytes of a stored object; null where there is none. */
  find(object: Pick<Artifact, 'key' | 'sizeBytes' | 'sha256'>): Promise<string | null>;
}

/** A disk that is full stops the next dump, and the server where it shares the disk: so much of it stays free. */
const FREE_SHARE = 0.2;

/** `root`: `<spool>/<application>`. `freeShare`: of the disk, from 0 to 1. */
export function createLocalCopies(root: string, freeShare = FREE_SHARE): LocalCopies {
  /** Files whose digest was right, with the time of their last change: they are read twice no more than once. */
  const proven = new Map<string, number>();
  const folderOf = ({ store, backupId }: Pick<LocalCopy, 'store' | 'backupId'>) => path.join(root, store, backupId);
  const remove = (copy: LocalCopy) => fs.rm(folderOf(copy), { recursive: true, force: true });

  async function list(): Promise<LocalCopy[]> {
    const found: LocalCopy[] = [];
    for (const store of await namesIn(root)) {
      for (const backupId of await namesIn(path.join(root, store))) {
        const kept = isBackupId(backupId) ? await readKept(path.join(root, store, backupId, KEPT)) : null;
        if (kept) found.push({ store, backupId, until: kept.until });
      }
    }
    return found.toSorted((a, b) => (a.backupId < b.backupId ? -1 : 1));
  }

  async function removeWhile(isTooFull: () => Promise<boolean>): Promise<LocalCopy[]> {
    const gone: LocalCopy[] = [];
    for (const copy of await list()) {
      if (!(await isTooFull())) break;
      await remove(copy);
      gone.push(copy);
    }
    return gone;
  }

  return {
    list,

    async keep(store, backupId, attempt, until) {
      const folder = folderOf({ store, backupId });
      const kept = `attempt-${attempt}`;
      const names = await namesIn(folder);
      // Stored from another host, or without a spool: there is nothing here to keep.
      if (!names.includes(kept)) return fs.rm(folder, { recursive: true, force: true });
      await writeFileDurably(path.join(folder, KEPT), JSON.stringify({ attempt, until }));
      for (const name of names.filter((each) => each !== kept && each !== KEPT))
        await fs.rm(path.join(folder, name), { recursive: true, force: true });
    },

    async sizeBytes() {
      let bytes = 0;
      for (const copy of await list()) {
        const entries = await fs.readdir(folderOf(copy), { recursive: true, withFileTypes: true }).catch(absent);
        for (const entry of (entries ?? []).filter((each) => each.isFile()))
          bytes += (await fs.stat(path.join(entry.parentPath, entry.name)).catch(absent))?.size ?? 0;
      }
      return bytes;
    },

    async prune(now) {
      const over = (await list()).filter(({ until }) => until !== null && Date.parse(until) <= now);
      for (const copy of over) await remove(copy);
      const isTooFull = async () => {
        const { freeBytes, totalBytes } = await freeSpace(root);
        return freeBytes < freeShare * totalBytes;
      };
      return [...over, ...(await removeWhile(isTooFull))];
    },

    async makeRoom(neededBytes) {
      await removeWhile(async () => (await freeSpace(root)).freeBytes < neededBytes);
    },

    async find({ key, sizeBytes, sha256 }) {
      const file = path.join(root, boundName(key));
      const stat = await fs.stat(file).catch(absent);
      if (stat === null || stat.size !== sizeBytes) return null;
      if (proven.get(file) === stat.mtimeMs) return file;
      // A disk that gives it back wrong, or not at all, is one that the repository stands in for.
      if ((await digestOf(file).catch(() => null)) !== sha256) return null;
      proven.set(file, stat.mtimeMs);
      return file;
    },
  };
}

async function readKept(file: string): Promise<z.output<typeof keptSchema> | null> {
  const text = await fs.readFile(file, 'utf8').catch(absent);
  if (text === null) return null;
  try {
    return keptSchema.parse(JSON.parse(text));
  } catch {
    return null; // Whatever this is, it is not ours; what lies there is swept as a spool is.
  }
}

async function digestOf(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

const namesIn = async (directory: string): Promise<string[]> => (await fs.readdir(directory).catch(absent)) ?? [];
