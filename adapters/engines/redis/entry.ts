import { engineEntry, oneServerEach } from '../engine-entry';
import { settings } from './settings';

export const redis = engineEntry({
  settings,
  hasLog: true,
  hasReplication: true,
  servers: ({ sites }) => oneServerEach(sites),
  create: (store, own) =>
    (require('./engine') as typeof import('./engine')).createRedisEngine({ store, settings: own }),
});
