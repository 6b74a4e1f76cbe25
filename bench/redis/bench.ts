import { benchOfParts } from '../parts';
import { durable } from './figures/durable';
import { fullBackup } from './figures/full';
import { memory } from './figures/memory';
import { replay } from './figures/replay';
import { stand } from './stand';

export const redis = benchOfParts(
  'Redis against redis-cli --rdb, or what limits it where that is not on PATH',
  { full: fullBackup, durable, replay, memory },
  stand,
);
