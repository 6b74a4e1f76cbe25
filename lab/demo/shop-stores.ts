import type { RestoreStoresResult } from '../../core/runs';
import {
  compareOrders,
  type CompareOptions,
  type Journal,
  type OrderComparison,
  readOrderEventsFromMongo,
  readOrdersFromPostgres,
} from '../load/journal';
import type { SiteName } from '../sites/address-plan';
import { STORES } from '../sites/build';
import { mongoSetUrl } from '../sites/mongodb';
import { postgresUrl } from '../sites/postgresql';
import type { LabAccess } from './access';

interface ServerAddress {
  readonly host: string;
  readonly port: number;
}

/** The shop's stores in use, PostgreSQL at this site, or the servers that a restore has left. */
type ShopStores = { readonly site: SiteName } | { readonly restored: RestoreStoresResult };

/** The orders and the events that both stores hold, each compared with what the shoppers' journal says about the target. */
export async function compareStores(
  access: LabAccess,
  stores: ShopStores,
  journal: Journal,
  target: Date,
  options?: CompareOptions,
): Promise<{ readonly orders: OrderComparison; readonly events: OrderComparison }> {
  const [postgresql, mongodb] =
    'site' in stores
      ? [ordersUrl(access, stores.site), catalogUrl(access)]
      : [
          ordersUrl(access, 'primary', addressOf(stores.restored, STORES.postgresql)),
          catalogUrl(access, addressOf(stores.restored, STORES.mongodb)),
        ];
  const orders = compareOrders(await readOrdersFromPostgres(postgresql), journal, target, options);
  const events = compareOrders(await readOrderEventsFromMongo(mongodb), journal, target, options);
  return { orders, events };
}

/** The URL of one site's PostgreSQL as the shop uses it, at another address where one is given (a restored server). */
function ordersUrl(access: LabAccess, site: SiteName, at?: ServerAddress): string {
  const url = new URL(postgresUrl(access, site));
  if (at) Object.assign(url, { hostname: at.host, port: String(at.port) });
  return url.toString();
}

/** The URL of the shop's replica set, or of one server alone. */
export function catalogUrl(access: LabAccess, at?: ServerAddress): string {
  if (!at) return mongoSetUrl(access, 'application');
  const url = new URL(mongoSetUrl(access, 'application').replace(/\/\/([^@]*@)?[^/]*/, `//$1${at.host}:${at.port}`));
  url.searchParams.delete('replicaSet');
  url.searchParams.set('directConnection', 'true');
  return url.toString();
}

function addressOf({ stores }: RestoreStoresResult, store: string): ServerAddress {
  const address = stores.find((each) => each.store === store)?.restored.address;
  // Without an address the store in use would be read, and prove nothing about the copy.
  if (!address) throw new Error(`${store} was not restored to a server`);
  return address;
}
