import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { classify, compareOrders, readJournal, summarise, type Journal } from '../../lab/load/journal';
import type { JournalEntry } from '../../lab/load/journal-entries';
import { openJournal } from '../../lab/load/journal-writer';
import { contentDigest, orderOf } from '../../lab/load/order-content';
import type { OrderContent } from '../../lab/shop/orders';

const SEED = 'oracle';
const TARGET = new Date('2026-11-22T12:00:00.000Z');
const at = (offsetMs: number) => new Date(TARGET.getTime() + offsetMs).toISOString();

const sent = (seq: number, offsetMs: number): JournalEntry => {
  const order = orderOf(SEED, seq);
  return { kind: 'sent', seq, ...order, sentAt: at(offsetMs), digest: contentDigest(order) };
};
const acknowledged = (seq: number, offsetMs: number, site = 'primary'): JournalEntry => ({
  kind: 'acknowledged',
  id: orderOf(SEED, seq).id,
  acknowledgedAt: at(offsetMs),
  status: 201,
  committedAt: at(offsetMs - 1),
  site,
});
const failed = (seq: number, offsetMs: number, ambiguous: boolean): JournalEntry => ({
  kind: 'failed',
  id: orderOf(SEED, seq).id,
  failedAt: at(offsetMs),
  error: 'ECONNRESET',
  ambiguous,
});

/**
 * 1 and 2 acknowledged before; 3 acknowledged after; 4 in doubt; 5 never answered; 6 refused; 7 sent after;
 * 8 refused before and placed after; 9 in doubt before and acknowledged before; 10 sent at the target.
 */
const ENTRIES: JournalEntry[] = [
  { kind: 'started', seed: SEED, startedAt: at(-10_000) },
  ...[sent(1, -9_000), acknowledged(1, -8_990), sent(2, -100), acknowledged(2, -1)],
  ...[sent(3, -5), acknowledged(3, 0), sent(4, -4), failed(4, 3_000, true), sent(5, -3)],
  ...[sent(6, -9_000), failed(6, -8_990, false), sent(7, 1), acknowledged(7, 9)],
  ...[sent(8, -50), failed(8, -40, false), sent(8, 10), acknowledged(8, 20, 'dr')],
  ...[sent(9, -60), failed(9, -50, true), sent(9, -40), acknowledged(9, -30), sent(10, 0), acknowledged(10, 4)],
];
const PRESENT = [1, 2, 9];
const IN_FLIGHT = [3, 4, 5, 10];
const ABSENT = [6, 7, 8];

describe('the oracle over the journal', () => {
  let folder: string;
  let file: string;
  let journal: Journal;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'drctl-journal-'));
    file = join(folder, 'orders.jsonl');
    writeFileSync(file, ENTRIES.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    journal = await readJournal(file);
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const id = (seq: number) => orderOf(SEED, seq).id;
  const rows = (...seqs: number[]): OrderContent[] => seqs.map((seq) => orderOf(SEED, seq));

  test('everything acknowledged before is present, nothing first sent after it is, the rest may be either', () => {
    const { mustBePresent, mustBeAbsent, inFlight } = classify(journal, TARGET);
    expect(mustBePresent.map(({ seq }) => seq)).toEqual(PRESENT);
    expect(inFlight.map(({ seq }) => seq)).toEqual(IN_FLIGHT);
    expect(mustBeAbsent.map(({ seq }) => seq)).toEqual(ABSENT);
  });

  test('a store as it must be is confirmed, and what was in flight is listed', () => {
    expect(compareOrders(rows(...PRESENT, 3, 5), journal, TARGET)).toEqual({
      ok: true,
      confirmed: 3,
      missing: [],
      unexpected: [],
      altered: [],
      inFlightPresent: [id(3), id(5)],
      inFlightAbsent: [id(4), id(10)],
    });
  });

  test.each(PRESENT)('a store without acknowledged order %i is reported', (seq) => {
    const result = compareOrders(rows(...PRESENT.filter((other) => other !== seq)), journal, TARGET);
    expect(result.ok).toBe(false);
    expect(result.missing.map((order) => order.seq)).toEqual([seq]);
    expect(result.confirmed).toBe(2);
  });

  test.each([
    [6, 'never-placed'],
    [7, 'sent-after-target'],
    [8, 'sent-after-target'],
    [99, 'not-in-journal'],
  ])('a store with order %i is reported as %s', (seq, reason) => {
    const result = compareOrders(rows(...PRESENT, seq), journal, TARGET);
    expect(result.ok).toBe(false);
    expect(result.unexpected).toEqual([{ id: id(seq), reason }]);
  });

  type Mutation = [string, 'customer' | 'items' | 'amountCents', (order: OrderContent) => void];
  const mutations: Mutation[] = [
    ['an altered amount', 'amountCents', (order) => (order.amountCents += 1)],
    ['another customer', 'customer', (order) => (order.customer += ' ')],
    ['a lost item', 'items', (order) => order.items.pop()],
    ['an altered quantity', 'items', (order) => (order.items[0]!.quantity += 1)],
    ['an altered price', 'items', (order) => (order.items[0]!.priceCents -= 1)],
    ['an altered SKU', 'items', (order) => (order.items[0]!.sku = 'SKU-0')],
    ['items in another order', 'items', (order) => order.items.unshift({ ...order.items.at(-1)!, quantity: 77 })],
  ];
  test.each(mutations)('%s is reported, in flight or not', (_, field, mutate) => {
    for (const seq of [2, 5]) {
      const store = rows(...PRESENT, 5);
      mutate(store.find((row) => row.id === id(seq))!);
      const result = compareOrders(store, journal, TARGET);
      expect(result.ok).toBe(false);
      expect(result.altered).toEqual([expect.objectContaining({ id: id(seq), field })]);
      expect(result.confirmed).toBe(seq === 2 ? 2 : 3);
    }
  });

  test('a row that is there twice is reported', () => {
    const { ok, altered } = compareOrders(rows(...PRESENT, 1), journal, TARGET);
    expect({ ok, altered }).toMatchObject({ ok: false, altered: [{ id: id(1), field: 'duplicate' }] });
  });

  test('orders before `sentSince` and foreign rows are left out', () => {
    const result = compareOrders([...rows(2), orderOf('someone else', 1)], journal, TARGET, {
      sentSince: at(-100),
      isForeign: ({ customer }) => customer.startsWith('customer-someone else'),
    });
    expect(result.missing.map(({ seq }) => seq)).toEqual([9]);
    expect(result.unexpected).toEqual([]);
  });

  test('an unfinished last line is left out; any other unreadable line is an error', async () => {
    const partial = join(folder, 'partial.jsonl');
    writeFileSync(partial, `${readFileSync(file, 'utf8')}{"kind":"sent","id":"4`);
    expect((await readJournal(partial)).orders.size).toBe(10);
    appendFileSync(partial, `\n${JSON.stringify(sent(11, 99))}\n`);
    await expect(readJournal(partial)).rejects.toThrow(/line \d+ of the journal .*partial\.jsonl cannot be used/);
  });

  test('an entry that contradicts itself is an error', async () => {
    const wrong = join(folder, 'wrong.jsonl');
    writeFileSync(wrong, `${JSON.stringify({ ...sent(1, 0), amountCents: 1 })}\n`);
    await expect(readJournal(wrong)).rejects.toThrow('does not have the content of its digest');
    writeFileSync(wrong, `${JSON.stringify(acknowledged(1, 0))}\n`);
    await expect(readJournal(wrong)).rejects.toThrow('was never sent');
  });

  test('a journal is continued after its last order, also after one that was cut off, and only by its own seed', async () => {
    const continued = join(folder, 'continued.jsonl');
    writeFileSync(continued, `${readFileSync(file, 'utf8')}{"kind":"sent","id":"4`);
    await expect(openJournal(continued, 'another')).rejects.toThrow('belongs to seed oracle');
    const writer = await openJournal(continued);
    expect(writer).toMatchObject({ seed: SEED, nextSeq: 11 });
    writer.append(sent(11, 99));
    writer.close();
    expect((await readJournal(continued)).orders.size).toBe(11);
  });

  test('the summary counts outcomes, sites, peak and the longest gap', () => {
    expect(summarise(journal)).toEqual({
      sent: 10,
      acknowledged: 7,
      ambiguous: 2,
      notPlaced: 1,
      acknowledgedBySite: { primary: 6, dr: 1 },
      peakAcknowledgedPerSecond: 6,
      longestGap: { fromMs: TARGET.getTime() - 8_990, toMs: TARGET.getTime() - 30, seconds: 8.96 },
    });
  });

  test('orders are the same for the same seed, distinct otherwise, and amounts add up', () => {
    const orders = Array.from({ length: 2_000 }, (_, seq) => orderOf(SEED, seq));
    expect(new Set(orders.map((order) => order.id)).size).toBe(2_000);
    expect(orderOf(SEED, 5)).toEqual(orders[5]);
    expect(orderOf('other', 5).id).not.toBe(orders[5]!.id);
    for (const { items, amountCents } of orders) {
      expect(amountCents).toBe(items.reduce((sum, { quantity, priceCents }) => sum + quantity * priceCents, 0));
    }
  });
});
