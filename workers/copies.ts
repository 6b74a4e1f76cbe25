import type { OpenApplication } from '../activities/deps';
import { createStoreCopier } from '../adapters/copies/store-copier';
import type { ObjectCipher } from '../adapters/encryption/encrypted-object';
import type { Away, Place } from '../adapters/fallback/places';
import { createReading } from '../adapters/fallback/reading';
import { createCopyRetentionStore } from '../adapters/retention/copy-retention';
import { copiesOf } from '../config/copies';
import type { LoadedConfig } from '../config/load';
import { failure } from '../core/errors';
import type { Repository } from '../core/repository';
import { type PartsOptions, remembered, type StoredParts, storedParts } from './stored-parts';

export interface CopiesOptions extends PartsOptions {
  readonly config: LoadedConfig;
  readonly repositoryNamed: (name: string) => Repository;
  readonly cipher: ObjectCipher | null;
}

type Copies = Pick<OpenApplication, 'reading' | 'copies' | 'copy'>;

/** The further repositories of the config's `copies`: what is written to them, and what is read from them when it has to be. */
export function createCopies(own: StoredParts, options: CopiesOptions, whole: () => OpenApplication): Copies {
  const { config, engine, repositoryOf, repositoryNamed, cipher } = options;
  const away: Away = new Map();
  const parts = new Map<string, StoredParts>();
  const namingOf = (store: string) => engine(store).log?.naming ?? null;

  const partsOf = (copy: string) =>
    remembered(parts, copy, (): StoredParts => {
      const to = repositoryNamed(copy);
      return {
        ...storedParts({ ...options, repositoryOf: () => to }),
        retentionStore: (store) => createCopyRetentionStore({ from: repositoryOf(store), to }, store, namingOf(store)),
      };
    });

  const place = (store: string, name: string, of: StoredParts): Place => ({
    name,
    catalog: of.catalog(store),
    log: of.logArchive(store),
    transfer: of.transfer(store),
  });
  const readingOf = (store: string, places: readonly [Place, ...Place[]]) =>
    createReading(places, { store, naming: namingOf(store) }, away);

  return {
    reading(store) {
      const copies = copiesOf(config, store).map(({ name }) => place(store, name, partsOf(name)));
      return readingOf(store, [place(store, repositoryOf(store).name, own), ...copies]);
    },

    copies: (store) =>
      copiesOf(config, store).map(({ name, maxLag }) => ({
        name,
        maxLagSeconds: maxLag.seconds,
        copier: createStoreCopier({
          ...{ application: config.application, store, from: repositoryOf(store), to: repositoryNamed(name) },
          ...{ maxLagSeconds: maxLag.seconds, naming: namingOf(store), cipher },
        }),
      })),

    copy(name) {
      if (!Object.hasOwn(config.copies, name)) {
        const known = Object.keys(config.copies).join(', ') || 'none';
        throw failure('NotFound', `${config.application} has no copy "${name}"; its copies: ${known}`);
      }
      const of = partsOf(name);
      const reading: Copies['reading'] = (store) => readingOf(store, [place(store, name, of)]);
      return { ...whole(), ...of, reading, copies: () => [] };
    },
  };
}
