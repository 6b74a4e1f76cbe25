import type { LogNaming } from '../../core/log-archive';
import type { StoreReading } from '../../core/reading';
import { createFallbackCatalog } from './catalog';
import { createFallbackLog } from './log';
import { type Away, type Place, Places } from './places';
import { createFallbackSource } from './source';

/**
 * What one run reads of a store. The wrappers have the interfaces of what they wrap, each of which verifies what it reads: that
 * is where damage shows, and where the next place is asked. With one place alone there is nothing to wrap.
 */
export function createReading(
  [own, ...copies]: readonly [Place, ...Place[]],
  { store, naming }: { readonly store: string; readonly naming: LogNaming | null },
  away: Away,
): StoreReading {
  if (copies.length === 0) {
    const source: StoreReading['source'] = (chain, { fromLocalTier }) => own.transfer.source(chain, { fromLocalTier });
    return { catalog: own.catalog, log: own.log, source, hasCopies: false, elsewhere: () => [] };
  }
  const places = new Places([own, ...copies], away);
  return {
    catalog: createFallbackCatalog(places),
    log: naming && createFallbackLog(places, store, naming),
    source: (chain, options) => createFallbackSource(places, chain, options),
    hasCopies: true,
    elsewhere: () => places.elsewhere(),
  };
}
