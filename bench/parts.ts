import type { Bench, BenchContext } from './bench';
import type { Figure } from './figure';
import { type Rig, withRig } from './rig';

/** A benchmark whose parts stand on one rig and share what `stand` makes of it. */
export function benchOfParts<Stand>(
  summary: string,
  all: Readonly<Record<string, (stand: Stand) => Promise<Figure[]>>>,
  stand: (rig: Rig, context: Pick<BenchContext, 'rounds' | 'megabytes'>) => Stand,
): Bench {
  return {
    summary,
    parts: Object.keys(all),
    run: ({ rounds, say, parts, megabytes }) =>
      withRig(say, async (rig) => {
        const shared = stand(rig, { rounds, megabytes });
        const figures: Figure[] = [];
        for (const [part, measure] of Object.entries(all)) {
          if (!parts.includes(part)) continue;
          const started = performance.now();
          say(`${part}:`);
          figures.push(...(await measure(shared)));
          say(`  ${part} took ${((performance.now() - started) / 60_000).toFixed(1)} min`);
        }
        return figures;
      }),
  };
}

/** Made when it is first asked for, and shared by all who ask. */
export function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | null = null;
  return () => (made ??= make());
}

/** "2 GB" */
export function sizeWords(megabytes: number): string {
  return megabytes >= 1_000 ? `${megabytes / 1_000} GB` : `${megabytes} MB`;
}
