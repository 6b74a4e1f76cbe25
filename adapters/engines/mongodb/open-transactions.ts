import { createHash } from 'node:crypto';
import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { absent } from '../../filesystem/absent';
import { makeDirectory, writeFileDurably } from '../../filesystem/durable';
import { fieldNamed, valueOf } from './bson-bytes';
import { type OplogEntry, readEntry } from './oplog';
import { sortableOptime } from './positions';

/**
 * Transactions whose first entries were read and whose end was not. They may be larger than memory (16 MB an entry, any
 * number of entries), so each entry waits in a file of its own, durable before the replay's progress passes it. An entry
 * that is appended again after a crash is the same file.
 */
export class OpenTransactions {
  private readonly folder: string;

  constructor(folder: string) {
    this.folder = folder;
  }

  /** Null for an entry outside any transaction. */
  static keyOf(entry: OplogEntry): string | null {
    const [lsid, number] = ['lsid', 'txnNumber'].map((name) => fieldNamed(entry.fields, name));
    if (!lsid || !number) return null;
    return createHash('sha256')
      .update(valueOf(entry.bytes, lsid))
      .update(valueOf(entry.bytes, number))
      .digest('hex')
      .slice(0, 32);
  }

  async append(key: string, entry: OplogEntry): Promise<void> {
    const folder = join(this.folder, key);
    await makeDirectory(folder);
    await writeFileDurably(join(folder, `${sortableOptime(entry.optime)}.bson`), entry.bytes);
  }

  /** The transaction's entries in order, each once, one at a time in memory. */
  async *entries(key: string): AsyncGenerator<OplogEntry> {
    const folder = join(this.folder, key);
    const names = (await readdir(folder).catch(absent)) ?? [];
    for (const name of names.filter((each) => each.endsWith('.bson')).toSorted()) {
      yield readEntry(await readFile(join(folder, name)));
    }
  }

  async forget(key: string): Promise<void> {
    await rm(join(this.folder, key), { recursive: true, force: true });
  }
}

export function openTransactionsIn(directory: string): OpenTransactions {
  return new OpenTransactions(join(directory, 'open-transactions'));
}
