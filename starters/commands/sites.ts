import { reasonOf } from '../../core/errors';
import type { Front } from '../front';
import { activeSite } from '../restore';
import { tableLines } from '../table';

export function registerSites(front: Front): void {
  front.command(
    front.program,
    'sites',
    'the sites of the application and which one is active',
    [['drctl sites', '']],
    async (session) => {
      const { config, io } = session;
      const active = await activeSite(session).catch((error: unknown) => {
        // The names are in the config; only who is active is in the repository.
        io.note(`Which site is active is not known: ${reasonOf(error)}`);
        return null;
      });
      const sites = Object.entries(config.sites).map(([site, { description }]) => ({
        site,
        description,
        role: active === null ? 'unknown' : site === active ? 'active' : 'standby',
        stores: Object.entries(config.stores).flatMap(([store, { sites: at }]) => (at.includes(site) ? [store] : [])),
      }));
      session.print(sites, () =>
        tableLines(
          ['site', 'role', 'description', 'stores'],
          sites.map(({ site, role, description, stores }) => [site, role, description, stores.join(', ')]),
        ),
      );
    },
  );
}
