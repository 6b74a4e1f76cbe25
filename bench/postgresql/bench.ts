import { benchOfParts } from '../parts';
import { durable } from './figures/durable';
import { fullBackup } from './figures/full';
import { incremental } from './figures/incremental';
import { memory } from './figures/memory';
import { replay } from './figures/replay';
import { restore } from './figures/restore';
import { stand } from './stand';

export const postgresql = benchOfParts(
  'PostgreSQL against pgBackRest, barman-cloud and the shell, on 15 and 18',
  { full: fullBackup, incr: incremental, restore, replay, durable, memory },
  stand,
);
