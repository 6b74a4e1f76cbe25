import { join } from 'node:path';
import type { OpenApplication } from '../activities/deps';
import { createBubble } from '../adapters/bubble';
import { createKiller } from '../adapters/bubble/killer';
import { createEpochs } from '../adapters/catalog/epochs';
import { leftCopies } from '../adapters/engines/left-copies';
import { engineEntries } from '../adapters/engines/registry';
import { createDataKeys } from '../adapters/encryption/data-keys';
import { createSiteFence } from '../adapters/fence';
import { createMetricPublishers } from '../adapters/metrics';
import { freeSpace } from '../adapters/filesystem/free-space';
import { createHooks } from '../adapters/hooks';
import { createS3Mirror } from '../adapters/mirror/s3-mirror';
import { createNotifiers } from '../adapters/notify';
import { createLifecycle, createRepository } from '../adapters/repository';
import { createServices } from '../adapters/services';
import { createDnsZone, createPublicProbe } from '../adapters/traffic';
import { createSpool, type Spool } from '../adapters/volumes/spool';
import { toRetention } from '../config/retention';
import { toApplication } from '../config/application';
import { toLifecycle, toThaw } from '../config/lifecycle';
import { checklistPlan } from '../config/checklists';
import { forbiddenAddresses } from '../config/drill-policy';
import type { LoadedConfig } from '../config/load';
import { reportTargets } from '../config/reporting';
import type { Engine } from '../core/engine';
import type { DrillSetup } from '../core/drill';
import { failure } from '../core/errors';
import type { BackupBucket } from '../core/lifecycle/rules';
import type { AssetMirror } from '../core/mirror';
import type { Repository } from '../core/repository';
import { createCopies } from './copies';
import { remembered, storedParts } from './stored-parts';

/** What only the worker itself needs besides: the spool of its host. */
export interface WiredApplication extends OpenApplication {
  readonly spool: Spool;
}

/**
 * Opens an application of the config: the only place where adapters are chosen and put together. Connects to nothing; each
 * adapter does when it is first used.
 */
export async function openApplication(config: LoadedConfig): Promise<WiredApplication> {
  const name = config.application;
  const engines = new Map<string, Engine>();
  for (const [store, { engine, settings }] of Object.entries(config.stores)) {
    engines.set(store, await engineEntries[engine].create(store, settings));
  }
  const repositories = new Map<string, Repository>();
  const repositoryNamed = (wanted: string) =>
    remembered(repositories, wanted, () => {
      const settings = config.repositories[wanted];
      if (!settings) throw failure('ConfigInvalid', `${config.file} has no repository "${wanted}"`);
      return createRepository(wanted, settings, name);
    });
  const repositoryOf = (store: string) => repositoryNamed(config.stores[store]?.repository ?? config.repository);
  const engine = (store: string) => {
    const found = engines.get(store);
    if (found) return found;
    throw failure('NotFound', `${name} has no store "${store}"; its stores are ${[...engines.keys()].join(', ')}`);
  };
  const retention = toRetention(config);
  const codec = { codec: 'zstd', level: config.backup.zstdLevel } as const;
  const dataKeys = config.encryption
    ? createDataKeys({
        application: name,
        repositories: backupRepositories(config).map(repositoryNamed),
        activeKeyId: config.encryption.key ?? null,
        recipients: config.encryption.recipients,
      })
    : null;
  const cipher = dataKeys && encryption().createObjectCipher(dataKeys, name);
  const spool = createSpool({ directory: config.spool.directory, application: name, codec, cipher });
  const parts = { config, engine, repositoryOf, spool, cipher, retention };
  const stored = storedParts(parts);
  let buckets: BackupBucket[] | null = null;
  const copies = Object.keys(config.copies);
  const control = repositoryNamed(config.controlRepository ?? config.repository);

  const open: WiredApplication = {
    application: toApplication(config),
    engine,
    ...stored,
    ...createCopies(stored, { ...parts, repositoryNamed }, () => open),
    dataKeys,
    spool,
    repositories: [...new Set([...Object.keys(config.stores).map(repositoryOf), ...copies.map(repositoryNamed)])],
    control,
    epochs: createEpochs(control),
    services: config.services ? createServices(config.services.controller) : null,
    zone: config.dns ? createDnsZone(config.dns.zone) : null,
    probe: createPublicProbe({
      nameServers: config.dns?.nameServers ?? [],
      resolvers: config.dns?.resolvers ?? [],
    }),
    siteFence: config.fence ? createSiteFence(config.fence, replicated(config)) : null,
    hooks: createHooks(config.hooks),
    notifiers: createNotifiers(config.notifications),
    metrics: createMetricPublishers(config.metrics),
    reporting: reportTargets(config),
    checklist: (period) => checklistPlan(config, period),
    disks: () => disksOf(config, spool),
    mirrors: (store) => mirrorsOf(config, store),
    retention,
    lifecycle: toLifecycle(config),
    buckets: () => (buckets ??= bucketsOf(config)),
    thaw: toThaw(config),
    scratchPlace(store, purpose) {
      const own = config.stores[store]?.restore;
      return {
        directory: join(own?.directory ?? config.restore.directory, `${purpose}-${store}`),
        host: own?.host ?? config.restore.host,
        port: 0,
        osUser: own?.osUser ?? config.restore.osUser ?? null,
        overwrite: false,
      };
    },
    drill: drillSetup(config),
  };
  return open;
}

/** Loaded where the config has encryption: it brings a whole SDK along. */
const encryption = () =>
  require('../adapters/encryption/object-cipher') as typeof import('../adapters/encryption/object-cipher');

/** What drills need: a bubble and what may be killed, where the config has them. */
function drillSetup(config: LoadedConfig): DrillSetup {
  const { drill, services, stores, restore } = config;
  const places = [restore.directory, ...Object.values(stores).flatMap((store) => store.restore?.directory ?? [])];
  return {
    bubble: drill?.bubble ? createBubble(drill.bubble) : null,
    killer: services ? createKiller(services.controller) : null,
    forbidden: forbiddenAddresses(config),
    remains: async (drillId) =>
      (await leftCopies(config.application, places)).filter(
        (each) => drillId === undefined || each.drillId === drillId,
      ),
  };
}

/** Every repository that holds backups: each has the data keys, so that it is enough alone. The default one comes first. */
function backupRepositories(config: LoadedConfig): string[] {
  const own = Object.values(config.stores).flatMap(({ repository }) => repository ?? []);
  const copies = Object.keys(config.copies);
  return [...new Set([config.repository, ...own, config.controlRepository ?? config.repository, ...copies])];
}

/** Those of kind s3, each with the stores that it holds. */
function bucketsOf(config: LoadedConfig): BackupBucket[] {
  const stores = Object.entries(config.stores);
  return Object.entries(config.repositories).flatMap(([repository, settings]) => {
    const own = stores.filter(([, store]) => (store.repository ?? config.repository) === repository);
    if (settings.kind !== 's3' || own.length === 0) return [];
    const lifecycle = createLifecycle(repository, settings, config.application);
    const location = `s3://${settings.bucket}/${lifecycle.root}`;
    return [
      { repository, location, storageClass: settings.storageClass, stores: own.map(([name]) => name), lifecycle },
    ];
  });
}

/** The mirrors of a store; the buckets and credentials are those of the repositories that they name. */
function mirrorsOf(config: LoadedConfig, store: string): AssetMirror[] {
  return (config.stores[store]?.mirrors ?? []).map(({ from, to, maxDeleteShare }) => {
    const settings = config.repositories[to.repository];
    if (settings?.kind !== 's3') {
      throw failure(
        'ConfigInvalid',
        `${config.file}: the mirror of ${from} needs a repository of kind s3, not "${to.repository}"`,
      );
    }
    return createS3Mirror({ name: to.repository, settings, prefix: to.prefix, from, maxDeleteShare });
  });
}

/** Where this worker writes: what waits for its upload, which local copies make room for, and repositories that are directories. */
async function disksOf({ backup, repositories, spool: { directory } }: LoadedConfig, { copies }: Spool) {
  const places = [
    ...(backup.mode === 'spool' ? [{ use: 'spool' as const, directory }] : []),
    ...Object.values(repositories).flatMap((each) =>
      each.kind === 'local' ? [{ use: 'repository' as const, directory: each.directory }] : [],
    ),
  ];
  return Promise.all(
    places.map(async (place) => {
      const { freeBytes, totalBytes } = await freeSpace(place.directory);
      const lent = place.use === 'spool' ? await copies.sizeBytes() : 0;
      return { ...place, freeBytes: freeBytes + lent, totalBytes };
    }),
  );
}

/** The stores that a site's fence covers: those that have a role there. */
function replicated(config: LoadedConfig): string[] {
  return Object.entries(config.stores)
    .filter(([, { hasReplication }]) => hasReplication)
    .map(([store]) => store);
}
