import { failure } from '../../../core/errors';
import type { RestorePlan } from '../../../core/recovery';
import type { Rename, Selection } from '../../../core/selection';

/** What belongs to a server itself. */
const OF_THE_SERVER = ['admin', 'config', 'local'];

/** The plan for a part of the store: databases (`shop`) and collections (`shop.orders`). Throws UsageInvalid. */
export function selectPart(plan: RestorePlan, selection: Selection): RestorePlan {
  const { include, rename } = selection;
  for (const name of [...include, ...rename.flatMap(({ from, to }) => [from, to])]) requireName(name);
  for (const each of rename) requireRename(each, selection);
  const isOfOne = plan.log !== null && include.some((name) => name.includes('.'));
  const because = 'because any of them may take its name on the way';
  return {
    ...plan,
    selection,
    notes: [
      ...plan.notes,
      ...(include.length > 0 ? ['users and roles are not restored with a part of the store'] : []),
      ...(isOfOne ? [`with a collection its whole database is loaded and replayed first, ${because}`] : []),
    ],
  };
}

function requireName(name: string): void {
  const [db = '', ...rest] = name.split('.');
  const isName = db !== '' && rest.every((part) => part !== '');
  if (isName && !OF_THE_SERVER.includes(db)) return;
  throw failure('UsageInvalid', `"${name}" is no database or collection that can be restored by itself`, {
    next: 'Write a database (shop) or a collection with its database (shop.orders).',
  });
}

function requireRename({ from, to }: Rename, { include, rename }: Selection): void {
  const refuse = (why: string) => failure('UsageInvalid', `${from} cannot be restored as ${to}: ${why}`);
  if (from.includes('.') !== to.includes('.')) throw refuse('one is a database, the other a collection');
  if (include.length > 0 && !include.some((name) => name === from || from.startsWith(`${name}.`)))
    throw refuse('--include does not name it');
  if (rename.filter((each) => each.from === from || each.to === to).length > 1)
    throw refuse('two renames speak of the same name');
  if (rename.some((each) => each.from === to)) throw refuse(`${to} is renamed itself`);
  if (rename.some((each) => from.startsWith(`${each.from}.`))) throw refuse('its database is renamed, too');
}

/**
 * Where each namespace of the source goes. Databases are chosen and renamed while they are loaded and replayed; collections
 * are when that is over (`narrow`), because a rename in the log, `$out` among them, may give any collection of the database
 * the name that is wanted. Between databases there are no renames in an oplog: the server writes them as inserts.
 */
export class SelectedPart {
  readonly include: readonly string[];
  /** Of collections. */
  readonly renames: readonly Rename[];
  private readonly databases: ReadonlyMap<string, string>;
  private readonly replaysLog: boolean;

  constructor({ selection, log }: Pick<RestorePlan, 'selection' | 'log'>) {
    this.include = selection?.include ?? [];
    const renames = selection?.rename ?? [];
    this.renames = renames.filter(({ from }) => from.includes('.'));
    this.databases = new Map(renames.filter(({ from }) => !from.includes('.')).map(({ from, to }) => [from, to]));
    this.replaysLog = log !== null;
  }

  /** The database's name in the restored server; null where it is not restored. Throws UsageInvalid where another one gets it. */
  databaseOf(db: string): string | null {
    if (this.include.length > 0 && !this.include.some((name) => databaseIn(name) === db)) return null;
    const to = this.databases.get(db);
    if (to !== undefined) return to;
    const [other] = [...this.databases].find((each) => each[1] === db) ?? [];
    if (other === undefined) return db;
    throw failure('UsageInvalid', `${other} cannot be restored as ${db}: there is a ${db} already`, {
      next: `Leave ${db} out by naming with --include what is wanted, or choose another name for ${other}.`,
    });
  }

  /** The namespace while it is loaded and replayed; null where its database is not restored. */
  placeOf(namespace: string): string | null {
    const db = databaseIn(namespace);
    const to = this.databaseOf(db);
    return to === null ? null : `${to}${namespace.slice(db.length)}`;
  }

  /** Whether a collection of the source is wanted in the end. The buckets of a time series are wanted as it is. */
  wants(db: string, collection: string): boolean {
    const name = `${db}.${collection.replace(/^system\.buckets\./, '')}`;
    return this.include.length === 0 || this.include.includes(db) || this.include.includes(name);
  }

  /** Nothing is renamed while a dump runs, so that its own state needs what is wanted alone. */
  isLoaded(db: string, collection: string): boolean {
    return this.databaseOf(db) !== null && (this.replaysLog || this.wants(db, collection));
  }

  /** The name that a restored database had at the source. */
  sourceOf(db: string): string {
    return [...this.databases].find(([, to]) => to === db)?.[0] ?? db;
  }
}

export function databaseIn(namespace: string): string {
  const dot = namespace.indexOf('.');
  return dot === -1 ? namespace : namespace.slice(0, dot);
}
