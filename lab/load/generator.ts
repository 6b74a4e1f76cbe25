import { setTimeout as sleep } from 'node:timers/promises';
import type { OrderContent } from '../shop/orders';
import type { JournalWriter } from './journal-writer';
import { contentDigest, orderOf } from './order-content';
import { placeOrder, type Placement } from './place-order';
import type { PublicName } from './public-name';

export interface GeneratorOptions {
  seed: string;
  /** Orders a second, on time whatever happens to those before. */
  rate: number;
  /** Requests under way at most; orders that are due while there are as many are skipped, and counted. */
  concurrency: number;
  /** Sends an order whose fate is unknown again, with the same id, until it is known or five tries were made. */
  retryAmbiguous: boolean;
  name: string;
  port: number;
}

export interface LoadCounts {
  sent: number;
  acknowledged: number;
  failed: number;
  skipped: number;
  /** Where the last acknowledgement came from. */
  site: string;
}

export interface Generator {
  counts: Readonly<LoadCounts>;
  /** Places no more orders, waits for those under way. */
  stop(): Promise<void>;
  /** Rejects when the journal cannot be written: an order without its line would make the oracle wrong. */
  failed: Promise<never>;
}

const MOST_TRIES = 5;
const RETRY_AFTER_MS = 1_000;

export function startGenerator(options: GeneratorOptions, address: PublicName, journal: JournalWriter): Generator {
  const counts: LoadCounts = { sent: 0, acknowledged: 0, failed: 0, skipped: 0, site: '' };
  const stopping = new AbortController();
  const orders = new Set<Promise<void>>();
  let underWay = 0;
  let fail: (cause: unknown) => void = () => undefined;
  const failed = new Promise<never>((_, reject) => (fail = reject));

  /** True when the order's fate is known. */
  const attempt = async (order: OrderContent, seq: number): Promise<boolean> => {
    underWay += 1;
    journal.append({ kind: 'sent', seq, ...order, sentAt: now(), digest: contentDigest(order) });
    counts.sent += 1;
    const placement = await send(address, options, order).finally(() => (underWay -= 1));
    record(journal, order.id, placement);
    if (!placement.placed) {
      counts.failed += 1;
      return !placement.ambiguous;
    }
    counts.acknowledged += 1;
    counts.site = placement.site;
    return true;
  };

  const place = async (order: OrderContent, seq: number) => {
    for (let tries = 1; !(await attempt(order, seq)); tries++) {
      if (!options.retryAmbiguous || tries === MOST_TRIES) return;
      // An aborted pause means that the generator stops: the order stays in doubt, as the journal says.
      await sleep(RETRY_AFTER_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
      if (stopping.signal.aborted) return;
    }
  };

  let seq = journal.nextSeq;
  const placeNext = () => {
    if (underWay >= options.concurrency) {
      counts.skipped += 1;
      return;
    }
    const placing = place(orderOf(options.seed, seq), seq++).catch(fail);
    orders.add(placing);
    void placing.finally(() => orders.delete(placing));
  };
  const pacing = pace(options.rate, stopping.signal, placeNext);
  return {
    counts,
    failed,
    async stop() {
      stopping.abort();
      await pacing;
      await Promise.all(orders);
    },
  };
}

/** Calls `due` at a rate, catching up after a pause of the process, so that the rate is held on average. */
async function pace(rate: number, signal: AbortSignal, due: () => void): Promise<void> {
  const startMs = performance.now();
  for (let n = 0; !signal.aborted; n++) {
    const waitMs = startMs + (n * 1_000) / rate - performance.now();
    if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    if (!signal.aborted) due();
  }
}

async function send(address: PublicName, { port, name }: GeneratorOptions, order: OrderContent): Promise<Placement> {
  let host: string;
  try {
    host = await address.address();
  } catch (cause) {
    return { placed: false, error: cause instanceof Error ? cause.message : String(cause), ambiguous: false };
  }
  return placeOrder(host, port, name, order);
}

function record(journal: JournalWriter, id: string, placement: Placement): void {
  if (placement.placed) {
    const { status, committedAt, site } = placement;
    journal.append({ kind: 'acknowledged', id, acknowledgedAt: now(), status, committedAt, site });
  } else {
    journal.append({ kind: 'failed', id, failedAt: now(), error: placement.error, ambiguous: placement.ambiguous });
  }
}

function now(): string {
  return new Date().toISOString();
}
