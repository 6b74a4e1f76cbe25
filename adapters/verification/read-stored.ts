import type { CallContext } from '../../core/call';
import type { Manifest } from '../../core/catalog';
import { findFailure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { LogArchive, LogEntry, LogNaming } from '../../core/log-archive';
import type { Repository } from '../../core/repository';
import {
  type Finding,
  FINDINGS_KEPT,
  type LogStretch,
  lostWith,
  type ReadProgress,
  type ReadRequest,
} from '../../core/verification';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { objectsOf } from './backup-objects';
import { brief } from './look-at-backups';

/** Pieces of a log are small: what each costs is a round trip, and those pass beside each other. */
const PIECES_AT_ONCE = 8;

const NOTHING: ReadProgress = {
  count: { backups: 0, objects: 0, logPieces: 0, readBytes: 0 },
  ...{ findings: [], moreFindings: 0, backupId: null, objectsOfBackup: 0, lineage: null, logTo: null },
};

export interface StoredParts {
  readonly repository: Repository;
  readonly store: string;
  readonly cipher: ObjectCipher | null;
  /** Null for a store without a log. `open` lists anew. */
  readonly log: { readonly naming: LogNaming; open(): LogArchive } | null;
}

/** Reads backups and log completely, one object after the other, and remembers how far it came. */
export class StoredReader {
  progress: ReadProgress;
  private readonly parts: StoredParts;
  private readonly onProgress: (progress: ReadProgress) => void;
  private readonly ctx: CallContext;

  constructor(
    parts: StoredParts,
    resume: ReadProgress | null,
    onProgress: (progress: ReadProgress) => void,
    ctx: CallContext,
  ) {
    this.parts = parts;
    this.progress = resume ?? NOTHING;
    this.onProgress = onProgress;
    this.ctx = ctx;
  }

  async read({ backups, log }: ReadRequest): Promise<ReadProgress> {
    const { backupId: at, lineage } = this.progress;
    for (const manifest of backups.toSorted((a, b) => (a.backupId < b.backupId ? -1 : 1))) {
      // Ids sort by time, as the backups do.
      if (lineage === null && (at === null || manifest.backupId >= at)) await this.readBackup(manifest, backups);
    }
    for (const stretch of log.toSorted((a, b) => (a.lineage < b.lineage ? -1 : 1))) {
      if (lineage === null || stretch.lineage >= lineage) await this.readLog(stretch);
    }
    return this.progress;
  }

  /** Those of the objects that are as they were stored. */
  async sound(keys: ReadonlySet<string>, backups: readonly Manifest[]): Promise<string[]> {
    const { log } = this.parts;
    const sound: string[] = [];
    for (const object of backups.flatMap((manifest) => objectsOf(this.parts, manifest, this.ctx))) {
      const { key } = object;
      if (!keys.has(key)) continue;
      this.ctx.progress({ phase: 'reading again', note: key });
      if ((await problemWith(key, () => object.read())) === null) sound.push(key);
    }
    const archive = log?.open();
    for (const lineage of (await archive?.lineages()) ?? []) {
      for (const entry of await archive!.entries(lineage)) {
        if (!keys.has(entry.key)) continue;
        const problem = await this.problemOf(archive!, entry);
        if (problem !== FROZEN && problem?.severity !== 'damage') sound.push(entry.key);
      }
    }
    return sound;
  }

  private async readBackup(manifest: Manifest, all: readonly Manifest[]): Promise<void> {
    const { store, backupId } = manifest;
    const isResumed = this.progress.backupId === backupId;
    if (!isResumed) this.keep({ backupId, objectsOfBackup: 0 });
    const objects = objectsOf(this.parts, manifest, this.ctx);
    let isRead = true;
    for (const [index, object] of objects.entries()) {
      const { key, severity, readBytes } = object;
      if (index < this.progress.objectsOfBackup) continue;
      this.ctx.signal.throwIfAborted();
      const totalItems = objects.length;
      this.ctx.progress({ phase: `reading ${backupId}`, note: key, doneItems: index, totalItems });
      const problem = await problemWith(key, () => object.read());
      if (problem === FROZEN) {
        isRead = false;
        this.counted({ frozen: 1 }, { objectsOfBackup: index + 1 });
        continue;
      }
      if (problem !== null) {
        // Removed meanwhile, as it should be at the end of its time: then none of it is there.
        if ((await this.parts.repository.head(layout.manifest(store, backupId))) === null) return;
        const needed = severity === 'damage' ? lostWith(backupId, all) : 'nothing: a restore does without it';
        this.found({ store, backupId, key, severity, problem, consequence: needed });
      }
      const backups = isRead && index + 1 === objects.length ? 1 : 0;
      this.counted({ backups, objects: 1, readBytes }, { objectsOfBackup: index + 1 });
    }
  }

  private async readLog({ lineage, from, to }: LogStretch): Promise<void> {
    const { log } = this.parts;
    if (!log) return;
    if (this.progress.lineage !== lineage) this.keep({ lineage, logTo: null });
    const { naming } = log;
    const archive = log.open();
    const done = this.progress.logTo;
    const wanted = stretchOf(await archive.entries(lineage), from, to, naming).filter(
      (entry) => done === null || naming.compare(entry.to, done) > 0,
    );
    for (let at = 0; at < wanted.length; at += PIECES_AT_ONCE) {
      this.ctx.signal.throwIfAborted();
      const some = wanted.slice(at, at + PIECES_AT_ONCE);
      const note = some[0]?.key ?? lineage;
      this.ctx.progress({ phase: 'reading the log', note, doneItems: at, totalItems: wanted.length });
      const problems = await Promise.all(some.map((entry) => this.problemOf(archive, entry)));
      for (const each of problems) if (each !== null && each !== FROZEN) this.found(each);
      const read = some.filter((_, index) => problems[index] !== FROZEN);
      const readBytes = read.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
      const frozen = some.length - read.length;
      this.counted({ logPieces: read.length, readBytes, frozen }, { logTo: (some.at(-1) as LogEntry).to });
    }
  }

  private async problemOf(archive: LogArchive, entry: LogEntry): Promise<Finding | typeof FROZEN | null> {
    const { store } = this.parts;
    let isNoted = true;
    const problem = await problemWith(entry.key, async () => void (isNoted = await archive.prove(entry)));
    if (problem === FROZEN) return FROZEN;
    const finding = { store, backupId: null, key: entry.key };
    if (problem === null) {
      const consequence = 'nothing yet: only its compression says that it is right';
      return isNoted
        ? null
        : { ...finding, severity: 'notice', problem: 'what was noted of it is not there', consequence };
    }
    // A segment may have taken its place since it was listed.
    const now = await (this.parts.log as NonNullable<StoredParts['log']>).open().entries(entry.lineage);
    if (!now.some(({ key }) => key === entry.key) && covered(now, entry, this.parts)) return null;
    const consequence = `no moment behind ${entry.from.value} can be restored from the backups before it`;
    return { ...finding, severity: 'damage', problem, consequence };
  }

  private found(finding: Finding): void {
    const { findings, moreFindings } = this.progress;
    if (findings.length < FINDINGS_KEPT) this.keep({ findings: [...findings, finding] });
    else this.keep({ moreFindings: moreFindings + 1 });
  }

  private counted(more: Partial<ReadProgress['count']>, where: Partial<ReadProgress>): void {
    const { count } = this.progress;
    const frozen = (count.frozen ?? 0) + (more.frozen ?? 0);
    const sum = {
      backups: count.backups + (more.backups ?? 0),
      objects: count.objects + (more.objects ?? 0),
      logPieces: count.logPieces + (more.logPieces ?? 0),
      readBytes: count.readBytes + (more.readBytes ?? 0),
      ...(frozen > 0 ? { frozen } : {}),
    };
    this.keep({ ...where, count: sum });
  }

  private keep(change: Partial<ReadProgress>): void {
    this.progress = { ...this.progress, ...change };
    this.onProgress(this.progress);
  }
}

/** What lies in an archive class is neither right nor wrong: nobody has read it. */
const FROZEN = Symbol('in an archive class');

/** Null where it is as it was stored. Throws what keeps anybody from looking. */
async function problemWith(key: string, read: () => Promise<void>): Promise<string | typeof FROZEN | null> {
  try {
    await read();
    return null;
  } catch (error) {
    const found = findFailure(error);
    if (found?.code === 'ObjectFrozen') return FROZEN;
    if (found?.code === 'NotFound') return 'it is not there';
    // ConfigInvalid: a later format of the object itself; without a key it is about the config, and nobody can look.
    const isOfObject =
      found?.code === 'BackupCorrupt' || (found?.code === 'ConfigInvalid' && found.details.context?.['key'] === key);
    if (!isOfObject) throw error;
    return brief(found.message);
  }
}

/** The entries between two positions, and those that a reader needs to get to the first: slices back to a whole segment. */
function stretchOf(
  entries: readonly LogEntry[],
  from: LogStretch['from'],
  to: LogStretch['to'],
  naming: LogNaming,
): readonly LogEntry[] {
  let first = from === null ? 0 : entries.findIndex((entry) => naming.compare(entry.to, from) > 0);
  if (first === -1) return [];
  const isSlice = (index: number) => entries[index]?.kind === 'slice';
  if (from !== null) while (isSlice(first) && isSlice(first - 1)) first -= 1;
  return entries.slice(first).filter((entry) => to === null || naming.compare(entry.from, to) < 0);
}

function covered(now: readonly LogEntry[], { from, to }: LogEntry, { log }: StoredParts): boolean {
  const { naming } = log as NonNullable<StoredParts['log']>;
  return now.some(
    (each) => each.kind === 'segment' && naming.compare(each.from, from) <= 0 && naming.compare(each.to, to) >= 0,
  );
}
