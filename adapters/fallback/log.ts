import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { LogArchive, LogEntry, LogNaming } from '../../core/log-archive';
import { arrange } from '../repository/log-order';
import type { Place, Places } from './places';

/**
 * The log of all places: a piece that is damaged or gone in the first is read from the next. What is written and removed is that
 * of the first alone.
 */
export function createFallbackLog(places: Places, store: string, naming: LogNaming): LogArchive {
  const logOf = ({ log, name }: Place): LogArchive => {
    if (log) return log;
    throw failure('UsageInvalid', `${name} has no log`);
  };
  const own = logOf(places.all[0]!);

  async function entries(lineage: string): Promise<LogEntry[]> {
    const answers = await places.every((place) => logOf(place).entries(lineage));
    const all = new Map<string, LogEntry>();
    for (const { answer } of answers) for (const entry of answer) if (!all.has(entry.name)) all.set(entry.name, entry);
    const [first] = answers;
    return first && all.size === first.answer.length ? first.answer : arrange([...all.values()], naming).visible;
  }

  /** What its reader throws once it has the bytes is its own affair. */
  async function lend<T>(entry: LogEntry, use: (content: Buffer) => Promise<T>): Promise<T> {
    const used: { error: unknown }[] = [];
    const guarded = (content: Buffer) =>
      use(content).catch((error: unknown) => {
        used.push({ error });
        // Without its cause: by that it could be taken for damage of the piece.
        throw new Error('the reader of the log failed');
      });
    try {
      return await places.first(entry.key, (place) => logOf(place).lend(entry, guarded));
    } catch (error) {
      throw used[0]?.error ?? error;
    }
  }

  return {
    entries,
    lend,
    async lineages() {
      return [...new Set((await places.every((place) => logOf(place).lineages())).flatMap(({ answer }) => answer))];
    },
    async resolve(entry) {
      if (entry.coversUntil !== null) return entry;
      const resolved = await places.first(entry.key, (place) => logOf(place).resolve(entry));
      if (resolved.coversUntil !== null) return resolved;
      // Gone from the first, or without its annotations there.
      const answers = await places.every((place) => logOf(place).resolve(entry));
      return answers.find(({ answer }) => answer.coversUntil !== null)?.answer ?? entry;
    },
    open: (entry) => places.first(entry.key, (place) => logOf(place).open(entry)),
    prove: (entry) => places.first(entry.key, (place) => logOf(place).prove(entry)),

    async history() {
      const found = new Map<string, Buffer | Error>();
      const damaged = new Map<string, { readonly place: Place; readonly error: Error }>();
      for (const { place, answer } of await places.every((each) => logOf(each).history())) {
        for (const [name, bytes] of answer) {
          if (Buffer.isBuffer(found.get(name))) continue;
          found.set(name, bytes);
          const before = damaged.get(name);
          if (bytes instanceof Error) damaged.set(name, before ?? { place, error: bytes });
          else if (before) places.note(before.place, layout.history(store, name), before.error, place);
        }
      }
      return found;
    },

    append: (piece) => own.append(piece),
    replaced: (lineage) => own.replaced(lineage),
    replace: (slices, segment) => own.replace(slices, segment),
    putHistory: (name, bytes, options) => own.putHistory(name, bytes, options),
  };
}
