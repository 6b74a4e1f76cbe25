import { publicName } from '../../../lab/load/public-name';
import { storeUrls } from '../../../lab/lab';
import { SITES, type SiteName } from '../../../lab/sites/address-plan';
import { STORES } from '../../../lab/sites/build';
import { catalogUrl } from '../../../lab/demo/shop-stores';
import type { E2eLab } from '../e2e-lab';
import type { SeededRandom } from '../random';
import { type MemberLink, textOf } from './member-links';
import { HistoryClient, type Kind } from './client';
import type { Operation, Survivors } from './history';
import * as mongodb from './mongodb-session';
import * as postgresql from './postgresql-session';
import { redisSession, redisSurvivors } from './redis-session';
import type { Session } from './session';

/**
 * Who uses each store. `public`: goes where the public name leads, as users do. `forgetful`: never asks again where it leads and
 * stays with the old site, as a cache does that ignores the TTL. `early`: writes at the new site as soon as it can.
 */
const CLIENTS = [
  { who: 'public-1', kinds: ['transfer', 'write', 'read', 'balances', 'read'] },
  { who: 'public-2', kinds: ['transfer', 'write', 'read', 'balances', 'read'] },
  { who: 'forgetful', kinds: ['transfer', 'write', 'read'] },
  { who: 'early', kinds: ['transfer', 'write'] },
] as const;

const WITHOUT_TRANSACTIONS: readonly Kind[] = ['write', 'read'];

/** The bank and the registers of one lab: its clients, what they did, and what is left of it. */
export class Workload {
  readonly history: Operation[] = [];
  private readonly e2e: E2eLab;
  private readonly random: SeededRandom;
  private clients: HistoryClient[] = [];

  private readonly members: readonly MemberLink[];

  constructor(e2e: E2eLab, members: readonly MemberLink[], random: SeededRandom) {
    this.e2e = e2e;
    this.members = members;
    this.random = random;
  }

  async start(): Promise<void> {
    const { lab, access } = this.e2e;
    await Promise.all([
      postgresql.createBank(storeUrls(lab, 'primary').postgresql),
      mongodb.createBank(
        catalogUrl(access),
        CLIENTS.map(({ who }) => who),
      ),
    ]);
    const { servers, name } = lab.dns;
    const gateways = new Map(SITES.map((site) => [access.plan.sites[site].gateway.host, site]));
    const resolver = publicName(name, [...servers]);
    const siteOfName = async () => gateways.get(await resolver.address()) ?? 'nowhere';
    const siteOf = { 'public-1': siteOfName, 'public-2': siteOfName, forgetful: () => 'primary', early: () => 'dr' };
    this.clients = Object.values(STORES).flatMap((store) =>
      // A replica set has one address for everybody; only its old leader can be asked for by itself.
      CLIENTS.filter(({ who }) => store !== STORES.mongodb || who !== 'early').map(({ who, kinds }) => {
        const possible = kinds.filter((kind) => store !== STORES.redis || WITHOUT_TRANSACTIONS.includes(kind));
        return new HistoryClient({
          name: who,
          store,
          kinds: possible,
          registers: CLIENTS.map((each) => each.who),
          site: async () => siteOf[who](),
          open: (site) => this.open(store, site as SiteName, who === 'forgetful'),
          random: this.random,
          record: (operation) => this.history.push(operation),
        });
      }),
    );
  }

  async stop(): Promise<void> {
    await Promise.all(this.clients.map((client) => client.stop()));
  }

  /** How many writes of a store were acknowledged since a moment, at the site that leads; MongoDB's set decides that itself. */
  acknowledged(store: string, site: string, sinceMs: number): number {
    return this.history.filter(
      (each) =>
        each.store === store &&
        (each.site === site || store === STORES.mongodb) &&
        each.outcome === 'ok' &&
        each.invokedAtMs >= sinceMs &&
        (each.kind === 'transfer' || each.kind === 'write'),
    ).length;
  }

  /** What every store holds at the site that leads now. */
  async survivors(site: SiteName): Promise<Record<string, Survivors>> {
    const urls = storeUrls(this.e2e.lab, site);
    const [orders, catalog, sessions] = await Promise.all([
      postgresql.postgresqlSurvivors(urls.postgresql),
      mongodb.mongodbSurvivors(catalogUrl(this.e2e.access)),
      redisSurvivors(urls.redis),
    ]);
    return { [STORES.postgresql]: orders, [STORES.mongodb]: catalog, [STORES.redis]: sessions };
  }

  private open(store: string, site: SiteName, direct: boolean): Promise<Session> {
    const { lab, access } = this.e2e;
    const urls = storeUrls(lab, site);
    if (store === STORES.postgresql) return postgresql.postgresqlSession(site, urls.postgresql);
    if (store === STORES.redis) return redisSession(site, urls.redis);
    const [leader] = access.plan.sites[site].mongodb;
    // A client that names one member alone knows it by its own address, every other by the set's.
    const sites = new Map(
      this.members.flatMap((each) => [each.member, each.link.address].map((one) => [textOf(one), each.site] as const)),
    );
    const url = catalogUrl(access, direct ? leader : undefined);
    return mongodb.mongodbSession(site, url, (address) => sites.get(address) ?? 'nowhere');
  }
}
