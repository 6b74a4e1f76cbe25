import { failure } from './errors';

/** A part of a store, and the names that it is restored under. What a name is, says the engine. */
export interface Selection {
  /** Empty: everything. */
  readonly include: readonly string[];
  readonly rename: readonly Rename[];
}

export interface Rename {
  readonly from: string;
  readonly to: string;
}

/** From what was written as `--include NAME` and `--rename FROM=TO`; null where neither was. Throws UsageInvalid. */
export function readSelection(include: readonly string[], rename: readonly string[]): Selection | null {
  if (include.length === 0 && rename.length === 0) return null;
  return { include, rename: rename.map(readRename) };
}

function readRename(text: string): Rename {
  const [from, to, ...more] = text.split('=');
  if (from && to && more.length === 0) return { from, to };
  throw failure(
    'UsageInvalid',
    `--rename is "${text}"; write the old and the new name, as in shop.orders=shop.orders_old`,
  );
}

/** "shop.orders as shop.orders_old, crm" */
export function selectionText({ include, rename }: Selection): string {
  const renamed = new Map(rename.map(({ from, to }) => [from, to]));
  const named = [...include, ...rename.map(({ from }) => from).filter((from) => !include.includes(from))];
  const words = named.map((name) => (renamed.has(name) ? `${name} as ${renamed.get(name)}` : name)).join(', ');
  return include.length === 0 ? `everything, with ${words}` : words;
}
