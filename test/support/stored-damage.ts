import * as fs from 'node:fs';
import * as path from 'node:path';
import type { LogEntry } from '../../core/log-archive';
import type { StoredLook } from '../../core/verification';
import type { SeededRandom } from './random';
import type { StoredStore } from './stored-store';

export interface StoredObject {
  readonly key: string;
  readonly store: StoredStore;
  /** What it is, so that rare kinds are damaged as often as common ones. */
  readonly kind: string;
  /** Of a piece of log; others may hold all of what it holds, so that nothing misses it. */
  readonly entry: LogEntry | null;
  readonly backupId: string | null;
}

/** Everything that is stored of a store and that somebody may need. */
export async function objectsOf(store: StoredStore, look: StoredLook): Promise<StoredObject[]> {
  const name = store.engine.store;
  const { log } = store.open();
  const entries = (await Promise.all(look.log.map(({ lineage }) => log!.entries(lineage)))).flat();
  const found: StoredObject[] = [];
  for await (const { key } of store.repository.list('')) {
    if (key.split('/')[key.startsWith('catalog/') ? 1 : 2] !== name) continue;
    const entry = entries.find((each) => each.key === key) ?? null;
    const backupId = /\d{8}T\d{6}Z-(?:full|incr)-[0-9a-f]{8}/.exec(key)?.[0] ?? null;
    const file = path.basename(key).replace(backupId ?? ' ', '');
    const kind = entry ? entry.kind : key.includes('/history/') ? path.extname(key) : file.replace(/\d+/, 'n');
    // Slices that a segment hides are nobody's any more.
    if (entry || backupId || key.includes('/history/')) found.push({ key, store, kind, entry, backupId });
  }
  return found;
}

export interface Damage {
  readonly what: string;
  readonly keys: readonly string[];
  undo(): void;
}

const fileOf = ({ store }: Pick<StoredObject, 'store'>, key: string) => path.join(store.repository.location, key);

/** Damage of an object in a folder; the time of the file stays as it is. `others`: those that it may be swapped with. */
export const damages = {
  'one bit flipped': (object: StoredObject, random: SeededRandom): Damage => {
    const content = fs.readFileSync(fileOf(object, object.key));
    const [at, bit] = [random.integer(content.length), random.integer(8)];
    content[at] = (content[at] as number) ^ (1 << bit);
    return { ...rewritten(object, object.key, content), what: `bit ${bit} of byte ${at} flipped` };
  },
  'cut off': (object: StoredObject, random: SeededRandom): Damage => {
    const content = fs.readFileSync(fileOf(object, object.key));
    const length = random.integer(content.length);
    return { ...rewritten(object, object.key, content.subarray(0, length)), what: `cut off at ${length}` };
  },
  deleted: (object: StoredObject): Damage => {
    const file = fileOf(object, object.key);
    const aside = `${object.store.repository.location}-aside`;
    fs.renameSync(file, aside);
    return { what: 'deleted', keys: [object.key], undo: () => fs.renameSync(aside, file) };
  },
  swapped: (object: StoredObject, random: SeededRandom, others: readonly StoredObject[]): Damage => {
    const content = fs.readFileSync(fileOf(object, object.key));
    const other = random.shuffled(others).find(({ key }) => !fs.readFileSync(fileOf(object, key)).equals(content))!;
    const first = rewritten(object, object.key, fs.readFileSync(fileOf(object, other.key)));
    const second = rewritten(object, other.key, content);
    const undo = () => [second, first].forEach((each) => each.undo());
    return { what: `swapped with ${other.key}`, keys: [object.key, other.key], undo };
  },
};

export const HOWS = Object.keys(damages) as (keyof typeof damages)[];

function rewritten(object: StoredObject, key: string, bytes: Buffer): Damage {
  const file = fileOf(object, key);
  const [before, { atime, mtime }] = [fs.readFileSync(file), fs.statSync(file)];
  const write = (content: Buffer) => {
    fs.writeFileSync(file, content);
    // Bits that rot leave the time as it is.
    fs.utimesSync(file, atime, mtime);
  };
  write(bytes);
  return { what: 'rewritten', keys: [key], undo: () => write(before) };
}
