import type { Manifest } from '../../core/catalog';
import type { CatalogStore, DamagedManifest } from '../../core/catalog-store';
import { layout } from '../../core/layout';
import type { Places } from './places';

/**
 * The backups of all places: one whose manifest is damaged or gone in the first is read from the next. Only `commit` is for the
 * first alone.
 */
export function createFallbackCatalog(places: Places): CatalogStore {
  async function list(store: string, options: { readonly after?: string } = {}): Promise<Manifest[]> {
    const answers = await places.every(async ({ catalog }) => ({
      backups: await catalog.list(store, options),
      damaged: await catalog.damaged(store),
    }));
    const found = new Map<string, Manifest>();
    const [first] = answers;
    for (const { place, answer } of answers) {
      for (const manifest of answer.backups) {
        if (found.has(manifest.backupId)) continue;
        found.set(manifest.backupId, manifest);
        const damage = first?.answer.damaged.find(({ backupId }) => backupId === manifest.backupId);
        // What only a copy has still is older than what the first one keeps: no damage.
        if (damage && first) places.note(first.place, layout.manifest(store, manifest.backupId), damage.problem, place);
      }
    }
    return [...found.values()].toSorted((a, b) => (a.backupId < b.backupId ? -1 : 1));
  }

  async function damaged(store: string): Promise<DamagedManifest[]> {
    const answers = await places.every(async ({ catalog }) => ({
      ids: new Set((await catalog.list(store)).map(({ backupId }) => backupId)),
      damaged: await catalog.damaged(store),
    }));
    const isWhole = (id: string) => answers.some(({ answer }) => answer.ids.has(id));
    const all = answers.flatMap(({ answer }) => answer.damaged).filter(({ backupId }) => !isWhole(backupId));
    return [...new Map(all.map((each) => [each.backupId, each])).values()];
  }

  return {
    list,
    damaged,
    async stores() {
      return [...new Set((await places.every(({ catalog }) => catalog.stores())).flatMap(({ answer }) => answer))];
    },
    newest: (store, newest, options) => places.first(null, ({ catalog }) => catalog.newest(store, newest, options)),
    oldest: (store) => places.first(null, ({ catalog }) => catalog.oldest(store)),
    survey: (store, newest) => places.first(null, ({ catalog }) => catalog.survey(store, newest)),
    get: (store, backupId) =>
      places.first(layout.manifest(store, backupId), ({ catalog }) => catalog.get(store, backupId)),
    commit: (manifest) => places.all[0]!.catalog.commit(manifest),
  };
}
