import type { MongoClient } from 'mongodb';
import { failure } from '../../../core/errors';
import type { RestorePlan } from '../../../core/recovery';
import type { Rename } from '../../../core/selection';
import { type IndexCatalog, RESTORE_DATABASE } from './index-catalog';
import { databaseIn, SelectedPart } from './selection';

const KEPT = ['admin', 'config', 'local', RESTORE_DATABASE];

/**
 * Leaves of a restored server what its plan selects: drops the other collections, and gives those that are left their new
 * names. Looks at what is there, so that it can be repeated. Throws NotFound for a name that nothing has at the target.
 */
export async function narrow(client: MongoClient, indexes: IndexCatalog, plan: RestorePlan): Promise<void> {
  if (!plan.selection) return;
  const part = new SelectedPart(plan);
  const found = await collectionsOf(client);
  const begun = client.db(RESTORE_DATABASE).collection<{ _id: string }>('renames');
  // By an earlier try, which had found all of them. Only then is what bears a new name what had the old one.
  const isRepeated = (await begun.findOne({ _id: 'begun' })) !== null;
  const done = new Set(isRepeated ? part.renames.filter(({ from }) => !found.has(from)).map(({ to }) => to) : []);
  const stays = (namespace: string) => {
    const db = databaseIn(namespace);
    return done.has(namespace) || part.wants(part.sourceOf(db), namespace.slice(db.length + 1));
  };
  for (const namespace of [...found.keys()].filter((each) => !stays(each))) {
    const db = databaseIn(namespace);
    await client.db(db).dropCollection(namespace.slice(db.length + 1));
    found.delete(namespace);
  }
  await indexes.retain(stays);
  if (!isRepeated) requireAll(plan, part, [...found.keys()]);
  const renames = part.renames.filter(({ to }) => !done.has(to));
  for (const rename of renames) requireRenamable(rename, found);
  await begun.replaceOne({ _id: 'begun' }, {}, { upsert: true });
  for (const { from, to } of renames) await client.db('admin').command({ renameCollection: from, to });
  for (const { from, to } of part.renames) await indexes.rename(from, to);
}

function requireRenamable({ from, to }: Rename, found: ReadonlyMap<string, string>): void {
  const type = found.get(from);
  if (type === 'collection' && !found.has(to)) return;
  const why = found.has(to) ? `there is a ${to} already` : `MongoDB renames no ${type}`;
  throw failure('UsageInvalid', `${from} cannot be restored as ${to}: ${why}`, {
    next: 'Restore it under its own name, or the whole database under another.',
  });
}

/** What clients see of each database, with its type; `system.js` is the one of the server's that holds their data. */
async function collectionsOf(client: MongoClient): Promise<Map<string, string>> {
  const { databases } = await client.db('admin').admin().listDatabases({ nameOnly: true });
  const found = new Map<string, string>();
  for (const { name: db } of databases.filter(({ name }) => !KEPT.includes(name))) {
    for (const { name, type } of await client.db(db).listCollections({}, { nameOnly: true }).toArray()) {
      if (!name.startsWith('system.') || name === 'system.js') found.set(`${db}.${name}`, type ?? 'collection');
    }
  }
  return found;
}

function requireAll({ store, reaches }: RestorePlan, part: SelectedPart, found: readonly string[]): void {
  for (const name of [...part.include, ...part.renames.map(({ from }) => from)]) {
    const place = part.placeOf(name);
    const isIt = (each: string) => each === place || (!name.includes('.') && each.startsWith(`${place}.`));
    if (found.some(isIt)) continue;
    throw failure('NotFound', `${store} has no ${name} at ${reaches.time}`, {
      next: 'Look at the name (upper and lower case count), or choose another time.',
    });
  }
}
