import type { Bench } from '../bench';
import type { Figure } from '../figure';
import { withRig } from '../rig';
import { durable } from './figures/durable';
import { fullBackup } from './figures/full';
import { memory } from './figures/memory';
import { replay } from './figures/replay';
import { restore } from './figures/restore';
import { stand, type Stand } from './stand';

const PARTS: Readonly<Record<string, (stand: Stand) => Promise<Figure[]>>> = {
  full: fullBackup,
  restore,
  durable,
  replay,
  memory,
};

export const mongodb: Bench = {
  summary: 'MongoDB against mongodump and mongorestore, or what limits them where they are not on PATH',
  parts: Object.keys(PARTS),
  run: ({ rounds, say, parts, megabytes }) =>
    withRig(say, async (rig) => {
      const shared = stand(rig, { rounds, megabytes });
      const figures: Figure[] = [];
      for (const [part, measure] of Object.entries(PARTS)) {
        if (!parts.includes(part)) continue;
        const started = performance.now();
        say(`${part}:`);
        figures.push(...(await measure(shared)));
        say(`  ${part} took ${((performance.now() - started) / 60_000).toFixed(1)} min`);
      }
      return figures;
    }),
};
