import { type FailureCode, FAILURES } from '../../core/failure-classes';
import { failure, findFailure, reasonOf } from '../../core/errors';
import type { CatalogStore } from '../../core/catalog-store';
import type { LogArchive } from '../../core/log-archive';
import type { ReadElsewhere } from '../../core/reading';
import type { BackupTransfer } from '../../core/transfer';

/** One repository that holds a store. */
export interface Place {
  readonly name: string;
  readonly catalog: CatalogStore;
  readonly log: LogArchive | null;
  readonly transfer: BackupTransfer;
}

/** What is wrong with one object of a place: another place may have it whole. */
const OF_AN_OBJECT: readonly FailureCode[] = ['BackupCorrupt', 'NotFound'];
/** What is wrong with the place as a whole. */
const OF_A_PLACE: readonly FailureCode[] = ['RepositoryUnavailable', 'AccessDenied', 'ConfigInvalid'];

/** A place that did not answer is asked again after this long: each question to a dead one takes its client half a minute. */
const AWAY_MILLISECONDS = 60_000;

/** A repository that is gone as a whole must not make a history of its own. */
const MOST_NOTES = 50;

/** Places that did not answer lately; shared by the runs of a process. */
export type Away = Map<string, { readonly until: number; readonly problem: string }>;

/** The places of one store in the order in which they are asked, and what one run met in them. */
export class Places {
  readonly all: readonly Place[];
  private readonly away: Away;
  private readonly met = new Map<string, ReadElsewhere>();

  constructor(all: readonly Place[], away: Away) {
    this.all = all;
    this.away = away;
  }

  elsewhere(): readonly ReadElsewhere[] {
    return [...this.met.values()];
  }

  /**
   * The first answer of a place. `find` throws, or answers null, where a place does not have it intact; the next one is asked
   * then. Throws the first error, naming every place, where none has it.
   */
  async first<T>(key: string | null, find: (place: Place) => Promise<T>): Promise<T> {
    const failed: { readonly place: Place; readonly error: unknown }[] = [];
    for (const place of this.inOrder()) {
      try {
        const found = await find(place);
        for (const each of failed) this.note(each.place, key, each.error, place);
        return found;
      } catch (error) {
        if (!isOf(error, OF_AN_OBJECT) && !this.isAway(place, error)) throw error;
        failed.push({ place, error });
      }
    }
    throw this.nowhere(failed);
  }

  /** The answer of every place that gives one; throws where none does. */
  async every<T>(ask: (place: Place) => Promise<T>): Promise<{ readonly place: Place; readonly answer: T }[]> {
    const answers: { readonly place: Place; readonly answer: T }[] = [];
    const failed: { readonly place: Place; readonly error: unknown }[] = [];
    for (const place of this.inOrder()) {
      // One that did not answer just now is asked only where nobody else does.
      if (answers.length > 0 && this.wasAway(place)) continue;
      try {
        answers.push({ place, answer: await ask(place) });
      } catch (error) {
        if (!this.isAway(place, error)) throw error;
        failed.push({ place, error });
      }
    }
    const [instead] = answers;
    if (!instead) throw this.nowhere(failed);
    for (const { place, error } of failed) this.note(place, null, error, instead.place);
    // In the order of the places: the first one's word counts where several have the same.
    return answers.toSorted((a, b) => this.all.indexOf(a.place) - this.all.indexOf(b.place));
  }

  note(place: Place, key: string | null, error: unknown, readFrom: Place): void {
    const isWhole = key === null || isOf(error, OF_A_PLACE);
    const about = `${place.name} ${isWhole ? '' : key}`;
    if (this.met.has(about) || this.met.size >= MOST_NOTES) return;
    const problem = typeof error === 'string' ? error : reasonOf(error);
    this.met.set(about, { key: isWhole ? null : key, repository: place.name, problem, readFrom: readFrom.name });
  }

  /** Those that did not answer just now come last. */
  private inOrder(): readonly Place[] {
    const late = this.all.filter((each) => this.wasAway(each));
    const others = this.all.filter((each) => !late.includes(each));
    const [instead] = others;
    if (instead) for (const each of late) this.note(each, null, this.away.get(each.name)?.problem, instead);
    return [...others, ...late];
  }

  private wasAway({ name }: Place): boolean {
    return (this.away.get(name)?.until ?? 0) > Date.now();
  }

  private isAway(place: Place, error: unknown): boolean {
    if (!isOf(error, OF_A_PLACE)) return false;
    this.away.set(place.name, { until: Date.now() + AWAY_MILLISECONDS, problem: reasonOf(error) });
    return true;
  }

  /** One error: what may pass decides whether it is tried again, else the first. */
  private nowhere(failed: readonly { readonly place: Place; readonly error: unknown }[]): unknown {
    const known = failed.map(({ error }) => findFailure(error));
    const chosen = known.find((each) => each && FAILURES[each.code].retryable) ?? known[0];
    if (failed.length < 2 || !chosen) return failed[0]?.error;
    const message = `no copy has it: ${failed.map(({ place, error }) => `${place.name}: ${reasonOf(error)}`).join('; ')}`;
    const { data, next, context } = chosen.details;
    return failure(chosen.code, message, { data, next, ...(context ? { context } : {}), cause: failed[0]?.error });
  }
}

function isOf(error: unknown, codes: readonly FailureCode[]): boolean {
  const code = findFailure(error)?.code;
  return code !== undefined && codes.includes(code);
}
