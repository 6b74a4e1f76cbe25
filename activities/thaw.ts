import type { FrozenLook, ReadScope, ThawSettings } from '../core/thaw';
import { withCallContext } from './context';
import { atCopy } from './copies';
import type { ActivityDeps } from './deps';
import { manifestsOf } from './plan-restore';
import { announceReading } from './uses';

export interface Thaw {
  readonly application: string;
  readonly store: string;
  /** The only repository that is asked; see `StoreRestore`. */
  readonly copy?: string;
  /** Backup ids, full first. */
  readonly chain: readonly string[];
  readonly log: ReadScope['log'];
  /** Null: as the config says. */
  readonly settings: ThawSettings | null;
}

export function createThawActivities(deps: ActivityDeps) {
  return {
    /**
     * Asks for all of a chain that lies in an archive class and was not asked for yet, and says how far it has come; null
     * where all of it can be read at once. While it is waited for, each look renews the word that the chain is in use.
     */
    async askBack({ application, store, copy, chain, log, settings }: Thaw): Promise<FrozenLook | null> {
      return withCallContext(async (ctx) => {
        const open = atCopy(deps.open(application), copy);
        await announceReading(open, store, chain, ctx);
        const scope = { chain: await manifestsOf(open.reading(store).catalog, store, chain), log };
        return open.coldStorage(store).ask(scope, settings ?? open.thaw, ctx);
      });
    },
  };
}
