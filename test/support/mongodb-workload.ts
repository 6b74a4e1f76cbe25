/* oxlint-disable no-underscore-dangle -- `_id` is MongoDB's name for it */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ClientSession, MongoClient } from 'mongodb';
import { randomOf } from './random';

interface ModelDocument {
  readonly _id: string;
  value: number;
  tags: number[];
  note?: string;
  /** Never changed after the insert. */
  readonly unique: string;
}

/** collection → _id → document as JSON. */
export type ModelState = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** What the writer knows: between `sentAt` and `acknowledgedAt` the state went from the one before to the one of `digest`. */
export interface JournalEntry {
  readonly sentAt: number;
  readonly acknowledgedAt: number;
  readonly what: string;
  /** Of the whole state: thousands of steps would keep too many copies of it. */
  readonly digest: string;
}

const DATABASE = 'model';
const MAJORITY = { writeConcern: { w: 'majority' as const, j: true } };

/** Makes random changes one after the other, each acknowledged by a majority, and notes the state after each. */
export class Workload {
  readonly journal: JournalEntry[] = [];
  /** A dump refuses to run across a rename; a test switches them off meanwhile. */
  allowRenames = true;
  private readonly client: MongoClient;
  private readonly random: (below: number) => number;
  private readonly state = new Map<string, Map<string, ModelDocument>>();
  private counter = 0;

  constructor(client: MongoClient, seed: number) {
    this.client = client;
    this.random = randomOf(seed).integer;
  }

  async step(): Promise<void> {
    const sentAt = Date.now();
    const what = await this.change();
    this.journal.push({ sentAt, acknowledgedAt: Date.now(), what, digest: digestOf(this.latest()) });
    // Some instants without a write, so that targets between two writes exist.
    if (this.random(4) === 0) await sleep(2 + this.random(15));
  }

  /**
   * What a restored state has wrong at the instant; null when it is right. Everything acknowledged before the instant must be
   * in it and nothing sent after it; what was under way then (several changes, where they share a millisecond) may be or not.
   */
  wrongAt(instant: number, found: ModelState): string | null {
    const first = this.journal.findLastIndex(({ acknowledgedAt }) => acknowledgedAt < instant);
    const last = this.journal.findLastIndex(({ sentAt }) => sentAt <= instant);
    const right = digestOf(found);
    const matches = this.journal.flatMap(({ digest }, index) => (digest === right ? [index] : []));
    if (matches.some((index) => index >= first && index <= last)) return null;
    const allowed = this.journal
      .slice(Math.max(0, first), last + 1)
      .map(({ what, sentAt, acknowledgedAt }) => `${what} (${sentAt}–${acknowledgedAt})`);
    return `at ${instant} changes ${first} to ${last} are right, found ${matches.join() || 'a state that never was'}; ${allowed.join(', ')}`;
  }

  /** What the source holds now. */
  latest(): ModelState {
    return new Map(
      [...this.state].map(([name, documents]) => [
        name,
        new Map([...documents].map(([id, each]) => [id, JSON.stringify(each)])),
      ]),
    );
  }

  static async read(client: MongoClient): Promise<ModelState> {
    const found = new Map<string, Map<string, string>>();
    for (const { name } of await client.db(DATABASE).listCollections({}, { nameOnly: true }).toArray()) {
      const documents = await client.db(DATABASE).collection(name).find().toArray();
      found.set(name, new Map(documents.map((each) => [String(each._id), JSON.stringify(each)])));
    }
    return found;
  }

  private collection(name: string) {
    return this.client.db(DATABASE).collection<ModelDocument>(name);
  }

  private async change(): Promise<string> {
    const names = [...this.state.keys()];
    const name = names[this.random(Math.max(1, names.length))] ?? 'c0';
    const kind = this.random(100);
    if (names.length < 2 || kind < 3) return this.create();
    if (kind < 35) return this.insert(name);
    if (kind < 65) return this.update(name);
    if (kind < 75) return this.delete(name);
    if (kind < 90) return this.transact(names);
    if (kind < 94) return this.index(name);
    if (kind < 96 && names.length > 3) return this.drop(name);
    if (kind < 98 && this.allowRenames) return this.rename(name);
    return this.insert(name, 40);
  }

  private fresh(): ModelDocument {
    this.counter += 1;
    return { _id: `d${this.counter}`, value: this.random(1_000), tags: [], unique: `u${this.counter}` };
  }

  private async create(): Promise<string> {
    const name = `c${(this.counter += 1)}`;
    await this.client.db(DATABASE).createCollection(name, MAJORITY);
    this.state.set(name, new Map());
    return `create ${name}`;
  }

  private async insert(name: string, count = 1 + this.random(3)): Promise<string> {
    const documents = Array.from({ length: count }, () => this.fresh());
    await this.inTransaction((session) => this.collection(name).insertMany(documents, { session }));
    for (const each of documents) this.state.get(name)?.set(each._id, structuredClone(each));
    return `insert ${count} into ${name}`;
  }

  private async update(name: string): Promise<string> {
    const one = this.pick(name);
    if (!one) return this.insert(name);
    const tag = this.random(50);
    if (this.random(5) === 0) {
      const next = { ...one, note: `r${tag}`, tags: [tag] };
      await this.collection(name).replaceOne({ _id: one._id }, next, MAJORITY);
      this.state.get(name)?.set(one._id, next);
    } else if (one.note !== undefined && this.random(2) === 0) {
      await this.collection(name).updateOne({ _id: one._id }, { $inc: { value: 1 }, $unset: { note: 1 } }, MAJORITY);
      one.value += 1;
      delete one.note;
    } else {
      await this.collection(name).updateOne({ _id: one._id }, { $inc: { value: 1 }, $push: { tags: tag } }, MAJORITY);
      one.value += 1;
      one.tags.push(tag);
    }
    return `update ${one._id} of ${name}`;
  }

  private async delete(name: string): Promise<string> {
    const one = this.pick(name);
    if (!one) return this.insert(name);
    await this.collection(name).deleteOne({ _id: one._id }, MAJORITY);
    this.state.get(name)?.delete(one._id);
    return `delete ${one._id} of ${name}`;
  }

  /** Moves a document between collections and inserts another: seen as a half, it is not atomic. */
  private async transact(names: readonly string[]): Promise<string> {
    const [from, to] = [names[this.random(names.length)] as string, names[this.random(names.length)] as string];
    const one = this.pick(from);
    if (!one || from === to) return this.insert(from);
    const added = this.fresh();
    await this.inTransaction(async (session) => {
      await this.collection(from).deleteOne({ _id: one._id }, { session });
      await this.collection(to).insertMany([one, added], { session });
    });
    this.state.get(from)?.delete(one._id);
    this.state.get(to)?.set(one._id, one).set(added._id, added);
    return `move ${one._id} from ${from} to ${to}`;
  }

  private async index(name: string): Promise<string> {
    const existing = await this.collection(name).indexes();
    const removable = existing.find((each) => each.name !== '_id_' && this.random(3) === 0)?.name;
    if (removable) await this.collection(name).dropIndex(removable, MAJORITY);
    else if (this.random(2) === 0) await this.collection(name).createIndex({ unique: 1 }, { unique: true });
    else await this.collection(name).createIndex({ value: 1, [`f${this.random(5)}`]: -1 });
    return `index on ${name}`;
  }

  private async drop(name: string): Promise<string> {
    await this.collection(name).drop(MAJORITY);
    this.state.delete(name);
    return `drop ${name}`;
  }

  private async rename(name: string): Promise<string> {
    const to = `c${(this.counter += 1)}`;
    await this.collection(name).rename(to, MAJORITY);
    this.state.set(to, this.state.get(name) as Map<string, ModelDocument>);
    this.state.delete(name);
    return `rename ${name} to ${to}`;
  }

  private async inTransaction(work: (session: ClientSession) => Promise<unknown>): Promise<void> {
    await this.client.withSession((session) => session.withTransaction(() => work(session), MAJORITY));
  }

  private pick(name: string): ModelDocument | undefined {
    const all = [...(this.state.get(name)?.values() ?? [])];
    return all[this.random(Math.max(1, all.length))];
  }
}

/** Equal for equal states, whatever order they were written in. */
function digestOf(state: ModelState): string {
  const sorted = (entries: Iterable<[string, unknown]>) => [...entries].toSorted(([a], [b]) => (a < b ? -1 : 1));
  const text = JSON.stringify(
    sorted(state).map(([name, documents]) => [name, sorted(documents as Map<string, string>)]),
  );
  return createHash('sha256').update(text).digest('base64');
}
