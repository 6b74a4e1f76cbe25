import type { OpenApplication } from '../activities/deps';
import { createCatalog } from '../adapters/catalog/catalog';
import { createProofs } from '../adapters/catalog/proofs';
import type { ObjectCipher } from '../adapters/encryption/encrypted-object';
import { createColdStorage } from '../adapters/repository/cold-storage';
import { createLogArchive } from '../adapters/repository/log-archive';
import { createRetentionStore } from '../adapters/retention/retention-store';
import { createStoreVerifier } from '../adapters/verification/store-verifier';
import type { Spool } from '../adapters/volumes/spool';
import { createTransfer } from '../adapters/volumes/transfer';
import type { LoadedConfig } from '../config/load';
import type { CatalogStore } from '../core/catalog-store';
import type { Engine } from '../core/engine';
import type { LogArchive } from '../core/log-archive';
import type { Repository } from '../core/repository';
import { keptSeconds, kindOf, type RetentionSettings } from '../core/retention/policy';
import type { BackupTransfer } from '../core/transfer';

/** What is stored of the stores, as it is in one repository or another. */
export type StoredParts = Pick<
  OpenApplication,
  'catalog' | 'logArchive' | 'transfer' | 'verifier' | 'proofs' | 'retentionStore' | 'coldStorage'
>;

export interface PartsOptions {
  readonly config: Pick<LoadedConfig, 'backup'>;
  readonly engine: (store: string) => Engine;
  readonly repositoryOf: (store: string) => Repository;
  readonly spool: Spool;
  readonly cipher: ObjectCipher | null;
  readonly retention: Pick<RetentionSettings, 'policy'>;
}

export function storedParts({ config, engine, repositoryOf, spool, cipher, retention }: PartsOptions): StoredParts {
  const codec = { codec: 'zstd', level: config.backup.zstdLevel } as const;
  const catalogs = new Map<string, CatalogStore>();
  const catalog = (store: string) => {
    const repository = repositoryOf(store);
    return remembered(catalogs, repository.name, () => createCatalog(repository));
  };
  const archives = new Map<string, LogArchive>();
  const transfers = new Map<string, BackupTransfer>();
  return {
    catalog,
    logArchive(store) {
      const { log } = engine(store);
      return log && remembered(archives, store, () => createLogArchive(repositoryOf(store), store, log.naming, cipher));
    },
    transfer: (store) =>
      remembered(transfers, store, () =>
        createTransfer({
          repository: repositoryOf(store),
          catalog: catalog(store),
          spool,
          codec,
          cipher,
          targetVolumeBytes: config.backup.volumeSize.bytes,
          localSeconds: (kind) => retention.policy[kindOf(kind)].local,
        }),
      ),
    verifier(store) {
      const { log } = engine(store);
      const keptFor = keptSeconds(retention.policy, 'transactionLogs');
      const kept = log && { naming: log.naming, reach: log.reach, keptSeconds: keptFor };
      return createStoreVerifier({ repository: repositoryOf(store), store, log: kept, cipher });
    },
    proofs: (store) => createProofs(repositoryOf(store)),
    coldStorage: (store) => createColdStorage(repositoryOf(store), store),
    retentionStore: (store) => createRetentionStore(repositoryOf(store), store, engine(store).log?.naming ?? null),
  };
}

export function remembered<K, V>(map: Map<K, V>, key: K, make: () => V): V {
  const known = map.get(key);
  if (known !== undefined) return known;
  const made = make();
  map.set(key, made);
  return made;
}
