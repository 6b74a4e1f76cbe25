import type { Bench } from '../bench';
import type { Figure } from '../figure';
import { durable } from './figures/durable';
import { fullBackup } from './figures/full';
import { incremental } from './figures/incremental';
import { memory } from './figures/memory';
import { replay } from './figures/replay';
import { restore } from './figures/restore';
import { withRig } from '../rig';
import { stand, type Stand } from './stand';

const PARTS: Readonly<Record<string, (stand: Stand) => Promise<Figure[]>>> = {
  full: fullBackup,
  incr: incremental,
  restore,
  replay,
  durable,
  memory,
};

export const postgresql: Bench = {
  summary: 'PostgreSQL against pgBackRest, barman-cloud and the shell, on 15 and 18',
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
