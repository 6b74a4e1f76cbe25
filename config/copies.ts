import { z } from 'zod';
import { duration, name, type Duration } from './values';

export const copySettings = z
  .record(
    name,
    z.strictObject({
      stores: z.array(name).min(1).optional().meta({ description: 'Every store where it is left out' }),
      maxLag: duration
        .default({ text: '1h', milliseconds: 3_600_000, seconds: 3_600 })
        .meta({ description: 'A copy that is further behind makes its store a warning' }),
    }),
  )
  .default({})
  .meta({
    description:
      'Repository → what is copied to it of the stores whose backups live elsewhere; restores read from it what they do not find intact at home',
  });

/** Those of several stores, each with its store. */
export function copiesOfAll(
  config: Copied,
  stores: readonly string[],
): { readonly store: string; readonly copy: string }[] {
  return stores.flatMap((store) => copiesOf(config, store).map(({ name: copy }) => ({ store, copy })));
}

interface Copied {
  readonly copies: Readonly<
    Record<string, { readonly stores?: readonly string[] | undefined; readonly maxLag: Duration }>
  >;
  readonly repository: string;
  readonly stores: Readonly<Record<string, { readonly repository?: string | undefined }>>;
}

/** The copies of a store, in the order of the config; a repository is no copy of the stores that live in it. */
export function copiesOf(config: Copied, store: string): { readonly name: string; readonly maxLag: Duration }[] {
  const own = config.stores[store]?.repository ?? config.repository;
  return Object.entries(config.copies).flatMap(([copy, { stores, maxLag }]) =>
    copy !== own && (stores === undefined || stores.includes(store)) ? [{ name: copy, maxLag }] : [],
  );
}
