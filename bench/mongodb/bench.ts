import { benchOfParts } from '../parts';
import { durable } from './figures/durable';
import { fullBackup } from './figures/full';
import { memory } from './figures/memory';
import { replay } from './figures/replay';
import { restore } from './figures/restore';
import { stand } from './stand';

export const mongodb = benchOfParts(
  'MongoDB against mongodump and mongorestore, or what limits them where they are not on PATH',
  { full: fullBackup, restore, durable, replay, memory },
  stand,
);
