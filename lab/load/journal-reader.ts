import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import type { OrderContent } from '../shop/orders';
import type { AcknowledgedEntry, JournalEntry } from './journal-entries';
import { contentDigest } from './order-content';

/** One try to place an order. Without an outcome it was under way when the journal was read or the generator died. */
export interface Attempt {
  sentAtMs: number;
  outcome?: 'acknowledged' | 'ambiguous' | 'not-placed';
  endedAtMs?: number;
  error?: string;
}

export interface JournalOrder {
  content: OrderContent;
  seq: number;
  attempts: Attempt[];
  /** The first acknowledgement. */
  acknowledged?: { atMs: number; status: number; committedAt: string; site: string };
}

export interface Journal {
  file: string;
  seed: string;
  /** In the order in which they were first sent. */
  orders: Map<string, JournalOrder>;
}

/**
 * Reads a journal, also one that is being written: an unfinished last line is left out. Any other line that cannot be
 * understood is an error naming the line, because an oracle that skips what it does not understand proves nothing.
 */
export async function readJournal(file: string): Promise<Journal> {
  const journal: Journal = { file, seed: '', orders: new Map() };
  let unread: { number: number; cause: unknown } | undefined;
  let number = 0;
  for await (const line of createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })) {
    if (unread) throw unreadable(file, unread.number, unread.cause);
    number += 1;
    if (line === '') continue;
    try {
      add(journal, JSON.parse(line) as JournalEntry);
    } catch (cause) {
      if (!(cause instanceof SyntaxError)) throw unreadable(file, number, cause);
      // Acceptable only where no line follows.
      unread = { number, cause };
    }
  }
  return journal;
}

function unreadable(file: string, line: number, cause: unknown): Error {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new Error(`line ${line} of the journal ${file} cannot be used: ${reason}; nothing can be proven with it`, {
    cause,
  });
}

function add(journal: Journal, entry: JournalEntry): void {
  switch (entry.kind) {
    case 'started':
      if (journal.seed && journal.seed !== entry.seed) throw new Error(`it belongs to seed ${journal.seed}`);
      journal.seed = entry.seed;
      return;
    case 'sent': {
      const { id, customer, items, amountCents, seq } = entry;
      const content = { id, customer, items, amountCents };
      if (contentDigest(content) !== entry.digest)
        throw new Error(`order ${id} does not have the content of its digest`);
      const order = journal.orders.get(id) ?? { content, seq, attempts: [] };
      order.attempts.push({ sentAtMs: timeOf(entry.sentAt) });
      journal.orders.set(id, order);
      return;
    }
    case 'acknowledged':
      acknowledge(lastAttempt(journal, entry.id), entry);
      return;
    case 'failed':
      Object.assign(lastAttempt(journal, entry.id).attempt, {
        outcome: entry.ambiguous ? 'ambiguous' : 'not-placed',
        endedAtMs: timeOf(entry.failedAt),
        error: entry.error,
      });
      return;
    default:
      throw new Error(`it is of the unknown kind "${String((entry as { kind: unknown }).kind)}"`);
  }
}

function lastAttempt({ orders }: Journal, id: string) {
  const order = orders.get(id);
  const attempt = order?.attempts.at(-1);
  if (!order || !attempt) throw new Error(`order ${id} was never sent`);
  return { order, attempt };
}

function acknowledge({ order, attempt }: ReturnType<typeof lastAttempt>, entry: AcknowledgedEntry): void {
  const { status, committedAt, site } = entry;
  const atMs = timeOf(entry.acknowledgedAt);
  Object.assign(attempt, { outcome: 'acknowledged', endedAtMs: atMs });
  order.acknowledged ??= { atMs, status, committedAt, site };
}

function timeOf(text: string): number {
  const timeMs = Date.parse(text);
  if (Number.isNaN(timeMs)) throw new Error(`"${text}" is not a time`);
  return timeMs;
}
