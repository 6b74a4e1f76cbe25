import { randomBytes } from 'node:crypto';
import * as path from 'node:path';
import { createCatalog } from '../../adapters/catalog/catalog';
import { createLogArchive } from '../../adapters/repository/log-archive';
import { createStoreVerifier } from '../../adapters/verification/store-verifier';
import { createSpool } from '../../adapters/volumes/spool';
import { createTransfer } from '../../adapters/volumes/transfer';
import { type BackupType, chainOf, type Manifest } from '../../core/catalog';
import type { Engine } from '../../core/engine';
import { backupIdOf } from '../../core/layout';
import type { Position } from '../../core/positions';
import type { Repository } from '../../core/repository';
import { testContext } from './engine-harness';

/** One store's backups and log in a real repository, written as the activities do. */
export interface StoredStore {
  readonly engine: Engine;
  readonly repository: Repository;
  /** As a worker that was just started has them: nothing is remembered of what was read before. */
  open(): ReturnType<typeof openStore>;
  /** Until all that the server has now is archived. */
  archive(): Promise<void>;
  back(type: BackupType): Promise<Manifest>;
}

function openStore(engine: Engine, repository: Repository, folder: string) {
  const { store } = engine;
  const codec = { codec: 'zstd', level: 1 } as const;
  const spool = createSpool({ directory: path.join(folder, 'spool'), application: 'shop', codec, reserveBytes: 0 });
  const catalog = createCatalog(repository);
  return {
    catalog,
    transfer: createTransfer({ repository, catalog, spool, codec, targetVolumeBytes: 8 * 2 ** 20 }),
    log: engine.log && createLogArchive(repository, store, engine.log.naming),
    verifier: createStoreVerifier({
      repository,
      store,
      log: engine.log && { naming: engine.log.naming, reach: engine.log.reach, keptSeconds: null },
      commitMilliseconds: 0,
    }),
  };
}

export function storedStore(engine: Engine, repository: Repository, folder: string): StoredStore {
  const { store } = engine;
  const open = () => openStore(engine, repository, folder);
  const site = 'primary';

  /** A look gives up soon, as it should; a busy machine is asked again. */
  async function positionNow(): Promise<Position> {
    for (const deadline = Date.now() + 60_000; ;) {
      const { position, problems } = await engine.probe(site, testContext());
      if (position) return position;
      if (Date.now() > deadline) throw new Error(`${store} has no position: ${problems.join('; ')}`);
    }
  }

  async function archive(): Promise<void> {
    const { log } = engine;
    if (!log) throw new Error(`${store} has no log`);
    const position = await positionNow();
    for (const deadline = Date.now() + 60_000; ;) {
      const request = { site, runForMilliseconds: 300, sliceMilliseconds: 100 };
      const archived = open().log as NonNullable<ReturnType<typeof open>['log']>;
      const { durable } = await log.archive(request, archived, () => undefined, testContext());
      if (durable.lineage !== position.lineage || engine.positions.compare(durable, position) >= 0) return;
      if (Date.now() > deadline) throw new Error(`archived only to ${durable.value}`);
    }
  }

  async function back(type: BackupType): Promise<Manifest> {
    const { catalog, transfer } = open();
    const existing = await catalog.list(store);
    const request = { backupId: backupIdOf(new Date().toISOString(), type, randomBytes(4).toString('hex')), type };
    const plan = await engine.planDump({ ...request, site, existing }, testContext());
    if (plan.type !== type) throw new Error(`${type} asked: ${plan.typeReason}`);
    const { backupId, parent, typeReason } = plan;
    const ref = { store, backupId, kind: engine.artifactKind(type), attempt: 1 };
    const attempt = await transfer.beginStream(ref, testContext());
    const built = existing.find((each) => each.backupId === plan.parent);
    const on = built ? { chain: chainOf(built, existing)!, source: transfer.source(existing) } : null;
    await attempt.finish(await engine.dump(plan, on, attempt.sink, testContext()));
    const { dump, artifacts, early } = await transfer.stored(ref);
    const what = { backupId, application: 'shop', store, engine: engine.kind, type, parent, typeReason };
    const run = { committedAt: new Date().toISOString(), attempt: 1, workflowId: 'test', runId: 'test' };
    return catalog.commit({ ...dump, formatVersion: 1, ...what, ...run, artifacts, early });
  }

  return { engine, repository, open, archive, back };
}
