import { readTally, updateTally } from '../../activities/backup-tally';
import { unlessDamaged } from '../../activities/kept-state';
import {
  observeReadiness,
  observeRecoveries,
  observeReplication,
  observeServers,
} from '../../activities/observe-application';
import { observeStore } from '../../activities/observe-stores';
import type { CallContext } from '../../core/call';
import { reasonOf } from '../../core/errors';
import type { ApplicationFacts, FactProblem, Recovery, RoleChangeNow, StorageSizes } from '../../core/monitoring/facts';
import { EMPTY_TALLY, type FailedBackups, tallyOf } from '../../core/monitoring/tally';
import type { WiredApplication } from '../wiring';

export interface RunsOfTemporal {
  readonly failedBackups: FailedBackups;
  readonly roleChange: (application: string) => Promise<RoleChangeNow>;
}

/**
 * Finds the facts of one application, each part by itself: what cannot be read hides nothing else. Remembers only what never
 * changes (manifests, reports).
 */
export class FactCollector {
  readonly #open: WiredApplication;
  readonly #site: string;
  readonly #runs: RunsOfTemporal;
  readonly #reports = new Map<string, Recovery | null>();

  constructor(open: WiredApplication, site: string, runs: RunsOfTemporal) {
    this.#open = open;
    this.#site = site;
    this.#runs = runs;
  }

  async collect(storage: StorageSizes | null, ctx: CallContext): Promise<ApplicationFacts> {
    const open = this.#open;
    const application = open.application.name;
    const at = new Date().toISOString();
    const problems: FactProblem[] = [];
    const part = async <T>(name: string, look: () => Promise<T>): Promise<T | null> => {
      try {
        return await look();
      } catch (error) {
        ctx.signal.throwIfAborted();
        problems.push({ part: name, reason: reasonOf(error) });
        return null;
      }
    };
    // Counting needs every manifest once, which is long the first time; the failures of before are known at once.
    const counted = await part('tally', () => unlessDamaged(readTally(open), EMPTY_TALLY));
    const [views, active, replication, roleChange, readiness, recoveries, servers] = await Promise.all([
      Promise.all(
        open.application.stores.map(({ name }) =>
          part(`store:${name}`, () =>
            observeStore(
              open,
              name,
              new Date().toISOString(),
              counted ? tallyOf(counted.value, name).lastFailureAt : null,
            ),
          ),
        ),
      ),
      part('epochs', async () => {
        const current = await open.epochs.current();
        return { site: current?.activeSite ?? open.application.initialSite, epoch: current?.epoch ?? 0 };
      }),
      part('replication', () => observeReplication(open)),
      part('temporal', () => this.#runs.roleChange(application)),
      part('readiness', () => observeReadiness(open)),
      part('reports', () => observeRecoveries(open, this.#reports)),
      part('servers', () => observeServers(open, this.#site, ctx)),
    ]);
    const seen = views.filter((view) => view !== null);
    const newest = new Map(seen.flatMap((view) => (view.newest ? [[view.store, view.newest.backupId]] : [])));
    const counting = () => updateTally(open, newest, this.#runs.failedBackups, at);
    const { tally = null, problem = null } = (counted && (await part('tally', counting))) ?? {};
    if (problem !== null) problems.push({ part: 'tally', reason: problem });
    const stores = seen.map((view) =>
      tally ? { ...view, lastFailureAt: tallyOf(tally, view.store).lastFailureAt } : view,
    );
    const tookSeconds = (Date.now() - Date.parse(at)) / 1_000;
    return {
      application,
      site: this.#site,
      at,
      tookSeconds,
      stores,
      tally,
      active,
      replication,
      roleChange,
      readiness,
      recoveries,
      servers,
      storage,
      problems,
    };
  }
}
