import { setTimeout as delay } from 'node:timers/promises';
import type Redis from 'ioredis';

const KEYS = 50_000;
const BATCH_EVERY_MILLISECONDS = 10;
/** Who is late makes up for it in pieces: of one pipeline with all that is due, nobody else's command gets between. */
const BATCH_AT_MOST = 1_000;

/** So many small writes a second, of several kinds, in pipelines; answers how many a second it came to. */
export async function pacedCommands(client: Redis, load: { perSecond: number; seconds: number }): Promise<number> {
  const started = performance.now();
  let sent = 0;
  for (;;) {
    const elapsed = (performance.now() - started) / 1_000;
    if (elapsed >= load.seconds) return sent / elapsed;
    const due = Math.min(Math.floor(elapsed * load.perSecond), sent + BATCH_AT_MOST);
    await sendCommands(client, sent, due);
    sent = due;
    await delay(BATCH_EVERY_MILLISECONDS);
  }
}

/** Those with these numbers: each is one command of the replication stream. */
export async function sendCommands(client: Redis, from: number, to: number): Promise<void> {
  const batch = client.pipeline();
  for (let number = from; number < to; number += 1) {
    const key = (number * 7_919) % KEYS;
    if (number % 3 === 0) batch.set(`cart:${key}`, `ultramarket ${number} ${'x'.repeat(60)}`);
    else if (number % 3 === 1) batch.incr(`visits:${key}`);
    else batch.hset(`session:${key}`, `field:${number % 7}`, `${number}`);
  }
  for (const [error] of (await batch.exec()) ?? []) if (error) throw error;
}
