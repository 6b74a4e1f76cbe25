import { engineEntry } from '../engine-entry';
import { settings } from './settings';

export const postgresql = engineEntry({
  settings,
  hasLog: true,
  hasReplication: true,
  catchesUp: true,
  hasCandidates: true,
  servers: ({ sites }) =>
    Object.fromEntries(
      Object.entries(sites).map(([name, site]) => [
        name,
        [site, ...site.standbys].map(({ host, port }) => `${host}:${port}`),
      ]),
    ),
  create: (store, { sites, toolsDirectory, ...own }) =>
    (require('./engine') as typeof import('./engine')).createPostgresqlEngine({
      store,
      sites,
      settings: own,
      toolsDirectory,
    }),
});
