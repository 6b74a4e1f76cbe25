import { randomInt } from 'node:crypto';
import { closeSync, existsSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs';
import { readJournal } from './journal-reader';
import type { JournalEntry } from './journal-entries';

export interface JournalWriter {
  seed: string;
  /** The number of the next order: one after the last of the journal. */
  nextSeq: number;
  /** Returns when the line is with the operating system. */
  append(entry: JournalEntry): void;
  close(): void;
}

/**
 * Opens a journal for appending. One that exists is continued with its seed; where one is given, it must be that. A new one
 * without takes one of its own: the same orders again would already be in the shop.
 *
 * Each line is one synchronous write: what was written survives a SIGKILL of the generator, and nothing is sent before
 * its line is. It is not synced to disk, because the journal has to outlive the servers under test and not the machine,
 * and a sync for every order would compete with theirs.
 */
export async function openJournal(file: string, given?: string): Promise<JournalWriter> {
  let nextSeq = 1;
  let seed = given ?? String(randomInt(1, 2 ** 31));
  if (existsSync(file)) {
    const earlier = await readJournal(file);
    if (earlier.seed && given && earlier.seed !== given) {
      throw new Error(`the journal ${file} belongs to seed ${earlier.seed}, not ${given}; name another file`);
    }
    seed = earlier.seed || seed;
    for (const { seq } of earlier.orders.values()) nextSeq = Math.max(nextSeq, seq + 1);
    dropUnfinishedLine(file);
  }
  const descriptor = openSync(file, 'a', 0o644);
  const append = (entry: JournalEntry) => {
    const line = Buffer.from(`${JSON.stringify(entry)}\n`);
    for (let written = 0; written < line.length;) written += writeSync(descriptor, line, written);
  };
  append({ kind: 'started', seed, startedAt: new Date().toISOString() });
  return { seed, nextSeq, append, close: () => closeSync(descriptor) };
}

/**
 * A generator that was killed in the middle of a line had not sent that order yet, or leaves one in flight that it had
 * an answer for: without the line the journal claims less, and never something untrue.
 */
function dropUnfinishedLine(file: string): void {
  const content = readFileSync(file);
  const end = content.lastIndexOf('\n') + 1;
  if (end < content.length) truncateSync(file, end);
}
