import { setTimeout as delay } from 'node:timers/promises';
import type { MongoClient } from 'mongodb';
import { DATABASE } from './replica-set';

const MAJORITY = { writeConcern: { w: 'majority' as const } };
const DOCUMENTS = 10_000;

/** One acknowledged write of an application: mostly updates of a small document, each third an insert. */
type Write = (number: number) => Promise<unknown>;

/** As an application writes: each acknowledged by a majority. What it writes to is made first. */
export async function applicationWrites(client: MongoClient): Promise<Write> {
  const carts = client.db(DATABASE).collection<{ _id: number; text: string; n: number }>('carts');
  const log = client.db(DATABASE).collection('visits');
  await carts.drop();
  const made = Array.from({ length: DOCUMENTS }, (_, id) => ({ _id: id, text: 'ultramarket '.repeat(20), n: 0 }));
  await carts.insertMany(made, MAJORITY);
  return (number) =>
    number % 3 === 0
      ? log.insertOne({ number, at: new Date(), text: 'ultramarket '.repeat(20) }, MAJORITY)
      : carts.updateOne({ _id: (number * 7_919) % DOCUMENTS }, { $inc: { n: 1 }, $set: { at: new Date() } }, MAJORITY);
}

/** So many writes a second; milliseconds of each from the moment it was due, those of the first seconds left out. */
export async function pacedWrites(
  write: Write,
  load: { perSecond: number; seconds: number; warmUpSeconds: number; clients: number },
): Promise<number[]> {
  const started = performance.now();
  const latencies: number[] = [];
  let next = 0;
  const client = async () => {
    for (let number = next++; ; number = next++) {
      const dueSeconds = number / load.perSecond;
      if (dueSeconds >= load.seconds + load.warmUpSeconds) return;
      const dueAt = started + dueSeconds * 1_000;
      const early = dueAt - performance.now();
      if (early > 1) await delay(early);
      await write(number);
      if (dueSeconds >= load.warmUpSeconds) latencies.push(performance.now() - dueAt);
    }
  };
  await Promise.all(Array.from({ length: load.clients }, client));
  return latencies;
}

/** Writes a second of clients that never wait but for the acknowledgement. */
export async function fullSpeedWrites(write: Write, load: { seconds: number; clients: number }): Promise<number> {
  const started = performance.now();
  let count = 0;
  const client = async () => {
    while (performance.now() - started < load.seconds * 1_000) {
      await write(count);
      count += 1;
    }
  };
  await Promise.all(Array.from({ length: load.clients }, client));
  return (count * 1_000) / (performance.now() - started);
}
