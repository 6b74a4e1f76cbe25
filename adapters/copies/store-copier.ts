import type { CallContext } from '../../core/call';
import { basicTime } from '../../core/clock';
import {
  type CopiedStore,
  type CopyComparison,
  type CopyProgress,
  type CopyRecord,
  type NotCopied,
  NOTHING_COPIED,
  type StoreCopier,
} from '../../core/copies';
import { failure, findFailure, hasCode, reasonOf } from '../../core/errors';
import { layout } from '../../core/layout';
import type { LogNaming } from '../../core/log-archive';
import { plus } from '../../core/retention/runs';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { backupIds, copyBackup, isGivenUp, readManifest, type StoredManifest } from './copy-backup';
import { copyLog } from './copy-log';
import type { Route } from './copy-objects';
import { copyHistory, copyHolds, copyKeys, unlessDamaged } from './copy-others';
import { readCopyRecord, writeCopyRecord } from './copy-record';

/** How long the ends of the listings are believed to be all that changed: once a day everything is compared. */
const WHOLE_LISTING_MILLISECONDS = 24 * 3_600_000;
/** A backup has the id of its beginning and is committed at its end: no backup takes longer (workflows/proxies.ts). */
const LONGEST_BACKUP_MILLISECONDS = 3 * 24 * 3_600_000;
/** So many are named one by one: a source that is gone as a whole must not make a history of its own. */
const NAMED = 20;

export interface CopierOptions extends Route {
  readonly application: string;
  readonly store: string;
  readonly maxLagSeconds: number;
  /** Null for a store without a log. */
  readonly naming: LogNaming | null;
  readonly cipher: ObjectCipher | null;
}

export function createStoreCopier(options: CopierOptions): StoreCopier {
  const { from, to, store, maxLagSeconds } = options;
  return {
    record: () => readCopyRecord(to, store),

    async compare(): Promise<CopyComparison> {
      const [record, source, copy] = await Promise.all([
        readCopyRecord(to, store),
        backupIds(from, store, null),
        backupIds(to, store, null),
      ]);
      const [sources, copies] = [new Set(source), new Set(copy)];
      return {
        ...{ store, copy: to.name, location: to.location, maxLagSeconds },
        ...{ completeUntil: record?.completeUntil ?? null, notCopied: record?.notCopied ?? [], backups: copy.length },
        missing: source.filter((id) => !copies.has(id)),
        more: copy.filter((id) => !sources.has(id)),
      };
    },

    run: (request, resume, keep, announce, ctx) => new CopyRun(options, resume, keep, announce, ctx).run(request),
  };
}

class CopyRun {
  private progress: CopyProgress;
  private readonly options: CopierOptions;
  private readonly keep: (progress: CopyProgress) => void;
  private readonly announce: (backups: readonly string[]) => Promise<void>;
  private readonly ctx: CallContext;

  constructor(
    options: CopierOptions,
    resume: CopyProgress | null,
    keep: (progress: CopyProgress) => void,
    announce: (backups: readonly string[]) => Promise<void>,
    ctx: CallContext,
  ) {
    this.options = options;
    this.keep = keep;
    this.announce = announce;
    this.ctx = ctx;
    const nothing = { backups: NOTHING_COPIED, log: NOTHING_COPIED, others: NOTHING_COPIED };
    this.progress = resume ?? {
      startedAt: new Date().toISOString(),
      ...nothing,
      lineage: null,
      logKey: null,
      notCopied: [],
    };
  }

  async run({ wholeListing }: { readonly wholeListing: boolean }): Promise<CopiedStore> {
    const { from, to, application, store } = this.options;
    const before = await readCopyRecord(to, store);
    const { startedAt } = this.progress;
    const known = wholeListing || before === null || !isFresh(before, from.location, startedAt) ? null : before;
    await this.copyOthers();
    const since = known ? Date.parse(known.completeUntil) - LONGEST_BACKUP_MILLISECONDS : null;
    await this.copyBackups(since);
    const settled = await this.copyLog(known?.settled ?? {});
    const { backups, log, others, notCopied } = this.progress;
    await writeCopyRecord(to, {
      ...{ formatVersion: 1, application, store, from: from.location, completeUntil: startedAt, settled, notCopied },
      wholeListingAt: known?.wholeListingAt ?? startedAt,
    });
    const seconds = (Date.now() - Date.parse(startedAt)) / 1_000;
    return { store, copy: to.name, backups, log, others, notCopied, completeUntil: startedAt, seconds };
  }

  private async copyOthers(): Promise<void> {
    const { store, naming } = this.options;
    const notCopied = (what: NotCopied) => this.missed(what);
    let objects = await copyKeys(this.options, notCopied);
    const holds = layout.retention('holds', store);
    objects += await unlessDamaged(holds, notCopied, () => copyHolds(this.options, store));
    if (naming) objects += await copyHistory(this.options, store, notCopied);
    this.note({ others: plus(this.progress.others, { objects, sizeBytes: 0 }) });
  }

  /** The newest first, with what they build on: what is needed on the day is there soonest. `since` null: all of them. */
  private async copyBackups(since: number | null): Promise<void> {
    const { from, to, store } = this.options;
    const after = since === null ? null : basicTime(new Date(since).toISOString());
    const there = new Set(await backupIds(to, store, after));
    const missing = (await backupIds(from, store, after)).filter((id) => !there.has(id));
    const done = new Set<string>();
    for (const id of missing.toReversed()) if (!done.has(id)) await this.copyChain(id, done);
  }

  /** A backup with those of its chain that the copy lacks, full first. */
  private async copyChain(id: string, done: Set<string>): Promise<void> {
    const { from, to, store } = this.options;
    const chain: StoredManifest[] = [];
    const ids: string[] = [];
    try {
      for (let next: string | null = id; next !== null;) {
        if (ids.includes(next)) throw failure('BackupCorrupt', `${id} of ${store} builds on itself`);
        ids.unshift(next);
        if ((await to.head(layout.manifest(store, next))) !== null) break;
        const stored: StoredManifest | null = await readManifest(from, store, next);
        if (stored === null || done.has(next) || (await isGivenUp(to, store, next))) return void done.add(id);
        chain.unshift(stored);
        next = stored.manifest.parent;
      }
      await this.announce(ids);
      for (const each of chain) await this.copyOne(each, done);
    } catch (error) {
      const isLeftOut = hasCode(error, 'BackupCorrupt') || hasCode(error, 'ObjectFrozen');
      if (!isLeftOut && !hasCode(error, 'Aborted')) throw error;
      done.add(id);
      // One that retention of the copy gave up at the same moment is not to be there.
      if (isLeftOut) this.missed({ key: keyOf(error) ?? layout.manifest(store, id), problem: reasonOf(error) });
    }
  }

  private async copyOne(stored: StoredManifest, done: Set<string>): Promise<void> {
    const { store, backupId } = stored.manifest;
    const count = (sizeBytes: number) => {
      this.note({ backups: plus(this.progress.backups, { objects: 0, sizeBytes }) });
      const doneBytes = this.progress.backups.sizeBytes;
      this.ctx.progress({ phase: `copying ${store}`, doneBytes, note: backupId });
    };
    done.add(backupId);
    if ((await copyBackup(this.options, stored, count, this.ctx)) !== null)
      this.note({ backups: plus(this.progress.backups, { objects: 1, sizeBytes: 0 }) });
  }

  private async copyLog(settled: Readonly<Record<string, string>>): Promise<Record<string, string>> {
    const { naming } = this.options;
    if (!naming) return {};
    const { lineage: at, logKey } = this.progress;
    const settledTo = (lineage: string) => settled[lineage] ?? '';
    const after = (lineage: string) => (at === lineage && logKey !== null ? logKey : settledTo(lineage));
    const copied = ({
      lineage,
      upTo,
      objects,
      sizeBytes,
    }: {
      lineage: string;
      upTo: string;
      objects: number;
      sizeBytes: number;
    }) => this.note({ log: plus(this.progress.log, { objects, sizeBytes }), lineage, logKey: upTo });
    const request = { settled: settledTo, after, copied, notCopied: (what: NotCopied) => this.missed(what) };
    return copyLog({ ...this.options, naming }, request, this.ctx);
  }

  private missed(what: NotCopied): void {
    const { notCopied } = this.progress;
    const isKnown = notCopied.some(({ key }) => key === what.key);
    if (!isKnown && notCopied.length < NAMED) this.note({ notCopied: [...notCopied, what] });
  }

  private note(change: Partial<CopyProgress>): void {
    this.progress = { ...this.progress, ...change };
    this.keep(this.progress);
  }
}

/** What was left out because it was damaged may be whole again, wherever it lies. */
function isFresh({ from, wholeListingAt, notCopied }: CopyRecord, location: string, now: string): boolean {
  const age = Date.parse(now) - Date.parse(wholeListingAt);
  return from === location && age <= WHOLE_LISTING_MILLISECONDS && notCopied.length === 0;
}

function keyOf(error: unknown): string | null {
  const key = findFailure(error)?.details.context?.['key'];
  return typeof key === 'string' ? key : null;
}
