import * as z from 'zod';
import { type DataKeyRecord, RECIPIENT_KINDS, type StoredDataKey } from '../../core/data-keys';
import { failure, findFailure, hasCode } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { parseStored, sealed, unreadable } from '../catalog/stored-json';
import { DATA_KEY_ID } from './settings';

const instant = z.iso.datetime({ offset: true });

const recordSchema: z.ZodType<DataKeyRecord> = z.strictObject({
  formatVersion: z.literal(1),
  application: z.string(),
  keyId: z.string().regex(DATA_KEY_ID),
  createdAt: instant,
  revision: z.int().positive(),
  writtenAt: instant,
  writtenBy: z.string(),
  recipients: z.array(
    z.strictObject({
      name: z.string(),
      kind: z.enum(RECIPIENT_KINDS),
      identity: z.string(),
      algorithm: z.enum(['RSA-OAEP-SHA256', 'AWS-KMS']),
      wrappedKey: z.base64().min(1),
    }),
  ),
});

/** `keys/` of one repository. */
export interface KeyRecords {
  readonly repository: Repository;
  /** By data key: its revisions that can be read, newest first, and what is wrong with the others. */
  readAll(keyId?: string): Promise<Map<string, { readonly records: DataKeyRecord[]; readonly problems: Error[] }>>;
  /** Creates, or mends one that cannot be read. Throws LockHeld where that revision exists with other content. */
  store(record: DataKeyRecord): Promise<void>;
}

export function createKeyRecords(repository: Repository): KeyRecords {
  async function readOne(key: string, keyId: string, revision: number): Promise<DataKeyRecord> {
    const record = parseStored(repository, key, await repository.read(key), recordSchema);
    if (record.keyId === keyId && record.revision === revision) return record;
    throw unreadable(repository, key, `it is revision ${record.revision} of the data key ${record.keyId}`);
  }

  async function isDamaged(key: string, keyId: string, revision: number): Promise<boolean> {
    try {
      await readOne(key, keyId, revision);
      return false;
    } catch (error) {
      if (hasCode(error, 'BackupCorrupt')) return true;
      throw error;
    }
  }

  return {
    repository,

    async readAll(wanted = '') {
      const found = new Map<string, { records: DataKeyRecord[]; problems: Error[] }>();
      for await (const { key } of repository.list(`${layout.keys()}${wanted}`)) {
        const [, keyId, number] = /^([0-9a-f]{32})(?:\.r(\d+))?\.json$/.exec(key.slice(layout.keys().length)) ?? [];
        if (keyId === undefined) continue;
        const of = found.get(keyId) ?? { records: [], problems: [] };
        found.set(keyId, of);
        try {
          of.records.push(await readOne(key, keyId, Number(number ?? 1)));
        } catch (error) {
          // Another revision or another repository may have it whole: any that unwraps is the right one.
          const code = findFailure(error)?.code;
          if (code !== 'BackupCorrupt' && code !== 'ConfigInvalid') throw error;
          of.problems.push(error as Error);
        }
      }
      for (const { records } of found.values()) records.sort((a, b) => b.revision - a.revision);
      return found;
    },

    async store(record) {
      const { keyId, revision } = record;
      const key = layout.key(keyId, revision);
      try {
        await repository.put(key, sealed(record), { ifAbsent: true });
      } catch (error) {
        // What nobody can read is nobody's word: what another repository has whole mends it.
        if (!hasCode(error, 'LockHeld') || !(await isDamaged(key, keyId, revision))) throw error;
        await repository.put(key, sealed(record));
      }
    },
  };
}

/** What the repositories hold, together. */
export async function listDataKeys(places: readonly KeyRecords[]): Promise<StoredDataKey[]> {
  const all = await Promise.all(
    places.map(async (place) => ({ name: place.repository.name, keys: await place.readAll() })),
  );
  const keyIds = new Set(all.flatMap(({ keys }) => [...keys.keys()]));
  const keys = [...keyIds].map((keyId): StoredDataKey => {
    const stored = all.map(({ name, keys: ofPlace }) => ({
      repository: name,
      revision: ofPlace.get(keyId)?.records[0]?.revision ?? null,
      problems: (ofPlace.get(keyId)?.problems ?? []).map((problem) => problem.message),
    }));
    const records = all.flatMap(({ keys: ofPlace }) => ofPlace.get(keyId)?.records ?? []);
    const newest = records.toSorted((a, b) => b.revision - a.revision)[0] ?? null;
    return { keyId, record: newest, stored };
  });
  const age = ({ record }: StoredDataKey) => record?.createdAt ?? '';
  return keys.toSorted((a, b) => (age(a) < age(b) ? -1 : 1));
}

/**
 * Every revision of one data key that any repository can give, newest first. Throws KeyUnavailable when none has it, BackupCorrupt
 * when what there is cannot be read, and what a repository said that does not answer when no other one has it.
 */
export async function readRevisions(places: readonly KeyRecords[], keyId: string): Promise<DataKeyRecord[]> {
  const records: DataKeyRecord[] = [];
  const problems: unknown[] = [];
  for (const place of places) {
    try {
      const of = (await place.readAll(keyId)).get(keyId);
      records.push(...(of?.records ?? []));
      problems.push(...(of?.problems ?? []));
    } catch (error) {
      problems.push(error);
    }
    // A damaged one may be the newest, which alone names who was added: another repository may have that whole.
    if (records.length > 0 && problems.length === 0) break;
  }
  if (records.length > 0) return records.toSorted((a, b) => b.revision - a.revision);
  if (problems.length > 0) throw problems[0];
  const where = places.map(({ repository }) => `${repository.location}/${layout.key(keyId, 1)}`).join(', ');
  throw failure('KeyUnavailable', `the data key ${keyId} is lost: there is no ${where}`, {
    data: 'What is encrypted with it cannot be read until that file is back; backups that are not encrypted with it are not affected.',
    next: 'Bring the file back from a copy of the repository; without it, take a full backup with a new data key now.',
    context: { keyId },
  });
}
