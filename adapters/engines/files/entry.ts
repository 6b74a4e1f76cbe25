import { engineEntry } from '../engine-entry';
import { settings } from './settings';

export const files = engineEntry({
  settings,
  hasLog: false,
  hasReplication: false,
  mirrors: (own) => own.mirrors,
  create: (store, own) =>
    (require('./engine') as typeof import('./engine')).createFilesEngine({ store, settings: own }),
});
