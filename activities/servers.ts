import type { CallContext } from '../core/call';
import { formatDuration } from '../core/clock';
import type { StoreProbe } from '../core/engine';
import { hasCode } from '../core/errors';
import type { OpenApplication } from './deps';

/** What one store's server at one site says of itself, for people. */
export interface ServerLook extends Pick<StoreProbe, 'site' | 'reachable' | 'role' | 'writable' | 'problems'> {
  readonly store: string;
}

/** How long one server may take: those that serve a shop answer at once, and a screen waits for the slowest. */
const LOOK_MILLISECONDS = 4_000;

/**
 * A look at every database server of every site, from where the caller stands. One that is down is part of the answer.
 * Trees of files are left out: they can only be seen at their own host. Who has not answered when `late` aborts, as a timeout,
 * does not.
 */
export async function lookAtServers(
  open: OpenApplication,
  ctx: CallContext,
  late: AbortSignal = AbortSignal.timeout(LOOK_MILLISECONDS),
): Promise<ServerLook[]> {
  const bounded = { ...ctx, signal: AbortSignal.any([ctx.signal, late]) };
  const { sites, stores } = open.application;
  const databases = stores.filter(({ hasLog, hasReplication }) => hasLog || hasReplication);
  const places = databases.flatMap(({ name: store }) => sites.map((site) => ({ store, site })));
  const looks = places.map(async ({ store, site }): Promise<ServerLook[]> => {
    try {
      const probe = await open.engine(store).probe(site, bounded);
      const { reachable, role, writable, problems } = probe;
      const chain = await chainProblem(open, store, probe);
      return [{ store, site, reachable, role, writable, problems: chain === null ? problems : [...problems, chain] }];
    } catch (error) {
      ctx.signal.throwIfAborted();
      // A store need not live at every site.
      if (hasCode(error, 'NotFound')) return [];
      const problem = error instanceof Error ? error.message : String(error);
      return [{ store, site, reachable: false, role: 'unknown', writable: null, problems: [problem] }];
    }
  });
  return (await Promise.all(looks)).flat();
}

/** Past this share of the time that an incremental has, a schedule that skips once more would make it a full. */
const LATE_SHARE = 0.8;

/** A chain that is about to end for want of a backup: the server keeps what an incremental needs for a limited time. */
async function chainProblem(open: OpenApplication, store: string, probe: StoreProbe): Promise<string | null> {
  const { role, incrementalWithinSeconds: within } = probe;
  if (within === undefined || role !== 'primary') return null;
  const newest = (await open.catalog(store).newest(store, 1)).backups.at(-1);
  if (!newest) return null;
  const ageSeconds = (Date.parse(probe.at) - Date.parse(newest.startedAt)) / 1_000;
  if (ageSeconds < LATE_SHARE * within) return null;
  const [age, kept] = [ageSeconds, within].map((seconds) => formatDuration(seconds * 1_000));
  return ageSeconds < within
    ? `the newest backup began ${age} ago, and an incremental can build on it only within ${kept}: take one before, or the next is a full`
    : `the newest backup began ${age} ago; an incremental could build on it only within ${kept}: the next is a full`;
}

/** `orders-db at primary: full_page_writes is off: ALTER SYSTEM SET full_page_writes = on`. */
export function problemLines(servers: readonly ServerLook[]): string[] {
  return servers.flatMap(({ store, site, problems }) => problems.map((problem) => `${store} at ${site}: ${problem}`));
}
