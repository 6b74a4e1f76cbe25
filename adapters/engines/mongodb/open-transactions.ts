import { createHash } from 'node:crypto';
import { mkdir, open, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { documentsIn, fieldNamed, valueOf } from './bson-bytes';
import { type OplogEntry, readEntry } from './oplog';
import { compareOptimes } from './positions';

/**
 * Transactions whose first entries were read and whose end was not. They may be larger than memory (16 MB an entry, any
 * number of entries), so they wait in files, durable before the replay's progress passes them. An entry that is appended
 * again after a crash is left out by its optime.
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
    await mkdir(this.folder, { recursive: true, mode: 0o700 });
    const file = await open(join(this.folder, key), 'a', 0o600);
    try {
      await file.writeFile(entry.bytes);
      await file.sync();
    } finally {
      await file.close();
    }
  }

  /** The transaction's entries in order, each once. */
  async *entries(key: string): AsyncGenerator<OplogEntry> {
    if (!(await this.keys()).includes(key)) return;
    let last: OplogEntry | null = null;
    for (const bytes of documentsIn(await readFile(join(this.folder, key)))) {
      const entry = readEntry(bytes);
      if (last && compareOptimes(entry.optime, last.optime) <= 0) continue;
      last = entry;
      yield entry;
    }
  }

  async forget(key: string): Promise<void> {
    await rm(join(this.folder, key), { force: true });
  }

  private async keys(): Promise<string[]> {
    return readdir(this.folder).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [];
      throw error;
    });
  }
}

export function openTransactionsIn(directory: string): OpenTransactions {
  return new OpenTransactions(join(directory, 'open-transactions'));
}
