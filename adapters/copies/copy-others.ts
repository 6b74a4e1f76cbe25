import { hasCode, reasonOf } from '../../core/errors';
import { layout } from '../../core/layout';
import type { NotCopied } from '../../core/copies';
import { createKeyRecords } from '../encryption/key-records';
import { createLogHistory } from '../repository/log-history';
import { asName, createRetentionRecords } from '../retention/records';
import type { Route } from './copy-objects';

type Told = (what: NotCopied) => void;

/** The wrapped data keys, each revision: without them nothing encrypted can be restored from the copy. Answers how many. */
export async function copyKeys({ from, to }: Route, notCopied: Told): Promise<number> {
  const there = await createKeyRecords(to).readAll();
  const target = createKeyRecords(to);
  let copied = 0;
  for (const [keyId, { records, problems }] of await createKeyRecords(from).readAll()) {
    const own = there.get(keyId)?.records ?? [];
    for (const record of records) {
      if (own.some(({ revision }) => revision === record.revision)) continue;
      await target.store(record);
      copied += 1;
    }
    if (own.length === 0) for (const problem of problems) notCopied({ key: layout.keys(), problem: problem.message });
  }
  return copied;
}

/** The files that tell how the lineages of the log hang together. */
export async function copyHistory({ from, to }: Route, store: string, notCopied: Told): Promise<number> {
  const target = createLogHistory(to, store);
  const there = await target.history();
  let copied = 0;
  for (const [name, bytes] of await createLogHistory(from, store).history()) {
    const own = there.get(name);
    if (bytes instanceof Error) {
      if (!Buffer.isBuffer(own)) notCopied({ key: layout.history(store, name), problem: bytes.message });
    } else if (!Buffer.isBuffer(own) || !own.equals(bytes)) {
      await target.putHistory(name, bytes);
      copied += 1;
    }
  }
  return copied;
}

/**
 * What people hold is held in the copy too. A hold of the copy goes only where the source says who released it: a source that lost
 * everything must not take the holds of the copy along.
 */
export async function copyHolds({ from, to }: Route, store: string): Promise<number> {
  const [source, copy] = [createRetentionRecords(from, store), createRetentionRecords(to, store)];
  const [wanted, there] = [await source.holds(), await copy.holds()];
  let copied = 0;
  for (const hold of wanted) {
    const own = there.find(({ backupId }) => backupId === hold.backupId);
    if (own !== undefined && own.at >= hold.at) continue;
    if (own !== undefined)
      await copy.release({ backupId: hold.backupId, by: hold.by, reason: 'held anew', at: hold.at });
    await copy.hold(hold);
    copied += 1;
  }
  const extra = there.filter(({ backupId }) => wanted.every((each) => each.backupId !== backupId));
  if (extra.length === 0) return copied;
  const released: string[] = [];
  const folder = layout.retention('released', store);
  for await (const { key } of from.list(folder)) released.push(key.slice(folder.length));
  for (const { backupId, at } of extra) {
    const isReleased = (name: string) => name.startsWith(`${backupId}-`) && name > `${backupId}-${asName(at)}`;
    if (!released.some(isReleased)) continue;
    await copy.release({
      backupId,
      by: 'copies',
      reason: `released in ${from.location}`,
      at: new Date().toISOString(),
    });
    copied += 1;
  }
  return copied;
}

/** Damage of one kind of file must not keep the backups from being copied. */
export async function unlessDamaged(key: string, notCopied: Told, work: () => Promise<number>): Promise<number> {
  try {
    return await work();
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    notCopied({ key, problem: reasonOf(error) });
    return 0;
  }
}
