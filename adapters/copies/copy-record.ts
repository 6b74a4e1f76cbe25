import * as z from 'zod';
import type { CopyRecord } from '../../core/copies';
import { hasCode } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { parseStored, sealed } from '../catalog/stored-json';

const instant = z.iso.datetime({ offset: true });

const recordSchema: z.ZodType<CopyRecord> = z.strictObject({
  formatVersion: z.literal(1),
  application: z.string(),
  store: z.string(),
  from: z.string(),
  completeUntil: instant,
  wholeListingAt: instant,
  settled: z.record(z.string(), z.string()),
  notCopied: z.array(z.strictObject({ key: z.string(), problem: z.string() })),
});

/** Null before the first complete run, and where it is damaged: then everything is compared anew. */
export async function readCopyRecord(to: Repository, store: string): Promise<CopyRecord | null> {
  const key = layout.copy(store);
  try {
    return parseStored(to, key, await to.read(key), recordSchema);
  } catch (error) {
    if (hasCode(error, 'NotFound') || hasCode(error, 'BackupCorrupt')) return null;
    throw error;
  }
}

export async function writeCopyRecord(to: Repository, record: CopyRecord): Promise<void> {
  await to.put(layout.copy(record.store), sealed(record));
}
