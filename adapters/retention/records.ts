import * as z from 'zod';
import { failure, hasCode } from '../../core/errors';
import { isBackupId, layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import type { Hold, Mark, RetentionStore, Use } from '../../core/retention/records';
import { BELIEVED_MILLISECONDS } from '../../core/retention/sweep-claim';
import { parseStored, sealed } from '../catalog/stored-json';

/** S3 tells times in whole seconds: of two within one nobody knows which was first. */
const CLOCK_TICK_MILLISECONDS = 1_000;

/** Of a sweep that died; long after anybody asks for it. */
const CLAIM_LEFT_MILLISECONDS = 86_400_000;

const instant = z.iso.datetime({ offset: true });
const backupId = z.string().refine(isBackupId, 'must be a backup id');
const formatVersion = z.literal(1);

const holdSchema: z.ZodType<Hold> = z.strictObject({
  store: z.string(),
  backupId,
  by: z.string(),
  reason: z.string(),
  at: instant,
});

const useSchema: z.ZodType<Use> = z.strictObject({
  store: z.string(),
  kind: z.enum(['restore', 'backup', 'proof']),
  by: z.string(),
  backups: z.array(backupId),
  since: instant,
  until: instant,
});

const run = z.strictObject({
  lineage: z.string(),
  first: z.string(),
  last: z.string(),
  objects: z.int().positive(),
  sizeBytes: z.int().nonnegative(),
});

const markSchema: z.ZodType<Mark> = z.strictObject({
  store: z.string(),
  runId: z.string(),
  markedAt: instant,
  sweepAt: instant,
  by: z.string(),
  backups: z.array(backupId),
  log: z.array(run),
});

const stored = <T>(schema: z.ZodType<T>) => z.strictObject({ formatVersion, value: schema });

type Records = Pick<
  RetentionStore,
  | 'holds'
  | 'hold'
  | 'release'
  | 'uses'
  | 'announce'
  | 'withdraw'
  | 'sweepsUnawareOf'
  | 'claimSweep'
  | 'sweepClaimedAt'
  | 'endSweep'
  | 'mark'
  | 'marked'
  | 'unmark'
>;

/** What retention writes down, one small object each, beside the backups that it is about. */
export function createRetentionRecords(repository: Repository, store: string): Records {
  const keyOf = (kind: Parameters<typeof layout.retention>[0], name: string) =>
    `${layout.retention(kind, store, asName(name))}.json`;

  async function read<T>(key: string, schema: z.ZodType<T>): Promise<T | null> {
    try {
      return parseStored(repository, key, await repository.read(key), stored(schema)).value;
    } catch (error) {
      if (hasCode(error, 'NotFound')) return null;
      throw error;
    }
  }

  async function all<T>(kind: 'holds' | 'uses', schema: z.ZodType<T>): Promise<T[]> {
    const found: T[] = [];
    for await (const { key } of repository.list(layout.retention(kind, store))) {
      const value = await read(key, schema);
      if (value !== null) found.push(value);
    }
    return found;
  }

  const write = (key: string, value: object, ifAbsent = false) =>
    repository.put(key, sealed({ formatVersion: 1, value }), { ifAbsent });

  async function claims(): Promise<{ readonly key: string; readonly at: number }[]> {
    const found = [];
    for await (const { key, modifiedAt } of repository.list(layout.retention('sweeps', store))) {
      found.push({ key, at: Date.parse(modifiedAt) });
    }
    return found;
  }

  return {
    holds: () => all('holds', holdSchema),

    async hold(hold) {
      const key = keyOf('holds', hold.backupId);
      try {
        await write(key, hold, true);
      } catch (error) {
        if (!hasCode(error, 'LockHeld')) throw error;
        const there = await read(key, holdSchema);
        throw failure('LockHeld', `${hold.backupId} of ${store} is held already, by ${there?.by}: ${there?.reason}`, {
          data: 'It stays as it is held.',
          next: 'Release it first where another reason is to be written down.',
        });
      }
    },

    async release({ backupId: id, by, reason, at }) {
      const key = keyOf('holds', id);
      const hold = await read(key, holdSchema);
      if (!hold) {
        throw failure('NotFound', `there is no hold on ${id} of ${store}`, { next: 'See `drctl retention plan`.' });
      }
      await write(keyOf('released', `${id}-${at}`), { ...hold, released: { by, reason, at } });
      await repository.delete([key]);
      return hold;
    },

    async uses(now) {
      return (await all('uses', useSchema)).filter(({ until }) => Date.parse(until) > now);
    },
    announce: async (use) => void (await write(keyOf('uses', use.by), use)),
    withdraw: (by) => repository.delete([keyOf('uses', by)]),

    async sweepsUnawareOf(word, waitedMilliseconds) {
      const said = await repository.head('useBy' in word ? keyOf('uses', word.useBy) : keyOf('holds', word.holdOn));
      const saidAt = said && Date.parse(said.modifiedAt);
      // Where nothing could be written, no sweep will ever see it, and no clock but ours tells how old a claim is.
      const isAware = (at: number) => saidAt !== null && at >= saidAt + CLOCK_TICK_MILLISECONDS;
      const now = saidAt === null ? Date.now() : saidAt + waitedMilliseconds;
      const isBelieved = (at: number) => at + BELIEVED_MILLISECONDS + CLOCK_TICK_MILLISECONDS > now;
      return (await claims()).filter(({ at }) => isBelieved(at) && !isAware(at)).map(({ key }) => key);
    },
    claimSweep: async (name) => void (await write(keyOf('sweeps', name), { at: new Date().toISOString() })),
    async sweepClaimedAt(name) {
      const claim = await repository.head(keyOf('sweeps', name));
      return claim && Date.parse(claim.modifiedAt);
    },
    endSweep: (name) => repository.delete([keyOf('sweeps', name)]),

    async mark(mark) {
      const own = keyOf('marks', mark.runId);
      await write(own, mark);
      // One run of an application is at work at a time: other marks were left by runs that died or failed.
      const others: string[] = [];
      for await (const { key } of repository.list(layout.retention('marks', store))) if (key !== own) others.push(key);
      for (const { key, at } of await claims()) if (at < Date.now() - CLAIM_LEFT_MILLISECONDS) others.push(key);
      await repository.delete(others);
    },
    marked: (runId) => read(keyOf('marks', runId), markSchema),
    unmark: (runId) => repository.delete([keyOf('marks', runId)]),
  };
}

/** Workflow ids have colons, times too: neither is welcome in the name of a file. */
export function asName(text: string): string {
  return text.replaceAll(/[^A-Za-z0-9._-]/g, '_');
}
