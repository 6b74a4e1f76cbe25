import { engineEntry } from '../engine-entry';
import { settings } from './settings';

export const mongodb = engineEntry({
  settings,
  hasLog: true,
  hasReplication: true,
  servers: ({ sites }) => Object.fromEntries(Object.entries(sites).map(([site, { members }]) => [site, members])),
  create: (store, own) =>
    (require('./engine') as typeof import('./engine')).createMongodbEngine({ store, settings: own }),
});
