import { engineEntry, oneServerEach } from '../engine-entry';
import { settings } from './settings';

export const postgresql = engineEntry({
  settings,
  hasLog: true,
  hasReplication: true,
  catchesUp: true,
  servers: ({ sites }) => oneServerEach(sites),
  create: (store, { sites, toolsDirectory, ...own }) =>
    (require('./engine') as typeof import('./engine')).createPostgresqlEngine({
      store,
      sites,
      settings: own,
      toolsDirectory,
    }),
});
