import { Refusal } from './refusal';
import type { StoreEnd } from './postgresql-cluster';
import type { Hold, ProgramSpec } from './program';

/** Who may not start at a site, since which role change. `stores: null` covers every store of the site. */
export interface Fence {
  readonly epoch: number;
  readonly stores: readonly string[] | null;
  readonly at: string;
  /** How each program that it covers was held before, so that an undo brings back what ran and nothing else. */
  readonly before?: Readonly<Record<string, Hold>>;
}

export interface FenceAnswer {
  readonly site: string;
  readonly epoch: number;
  readonly at: string;
  readonly stores: readonly string[] | null;
  /** Every process that the fence covers, with the pid it last had (null: never started); all seen to be gone. */
  readonly processes: readonly { readonly name: string; readonly pid: number | null; readonly gone: true }[];
  /** Where those stores ended that were shut down cleanly and say so. */
  readonly ended: readonly StoreEnd[];
}

export interface UnfenceAnswer {
  readonly site: string;
  /** Every process that the fence covered, and whether it was started because it ran before. */
  readonly processes: readonly { readonly name: string; readonly started: boolean }[];
}

/** The fence after a request with this epoch; a repeat keeps the first time, and a fence only ever grows. */
export function raiseFence(current: Fence | undefined, epoch: number, stores: readonly string[] | null): Fence {
  if (current && epoch < current.epoch)
    throw new Refusal(409, `epoch ${epoch} is older than epoch ${current.epoch}, which holds the fence`);
  const all = stores === null || (current !== undefined && current.stores === null);
  const merged = all ? null : [...new Set([...(current?.stores ?? []), ...(stores ?? [])])].toSorted();
  const at = current?.epoch === epoch ? current.at : new Date().toISOString();
  return { epoch, stores: merged, at, before: current?.before ?? {} };
}

/** Throws unless the epoch may lift the fence. */
export function mayLift(current: Fence, epoch: number): void {
  if (epoch < current.epoch)
    throw new Refusal(409, `epoch ${epoch} cannot lift the fence of epoch ${current.epoch}: it is older`);
}

/** The fence when it lets go of a store; null when that was the last that it held. */
export function withoutStore(
  fence: Fence,
  store: string,
  programs: readonly { readonly spec: ProgramSpec }[],
): Fence | null {
  const all = programs.flatMap(({ spec }) => (spec.kind === 'store' && spec.store ? [spec.store] : []));
  const stores = [...new Set(fence.stores ?? all)].filter((each) => each !== store);
  return stores.length === 0 ? null : { ...fence, stores };
}

/**
 * A fence holds the site's stores and its services, which would write into whatever store they reach; where they run in a
 * cluster its node, with every pod on it.
 */
export function isFenced(fence: Fence | undefined, spec: ProgramSpec): boolean {
  if (!fence) return false;
  if (spec.kind === 'service' || spec.kind === 'node') return true;
  return spec.kind === 'store' && (fence.stores === null || fence.stores.includes(spec.store ?? ''));
}
