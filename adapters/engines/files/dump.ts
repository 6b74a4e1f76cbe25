import * as fs from 'node:fs/promises';
import { once } from 'node:events';
import { PassThrough, type Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { release } from 'node:os';
import type { CallContext } from '../../../core/call';
import type { DumpResult } from '../../../core/catalog';
import type { DumpPlan, ParentBackup } from '../../../core/engine';
import { failure, hasCode, reasonOf } from '../../../core/errors';
import type { VolumeSink } from '../../../core/volumes';
import { type AsFound, FoundFiles, FoundTree } from './as-found';
import { excludeMatcher } from './exclude-patterns';
import { KnownFiles } from './known-files';
import { DELETED_VOLUME, LISTING_VERSION, LISTING_VOLUME, listingLine } from './listing';
import type { FilesSettings } from './settings';
import { StoredMembers } from './stored-members';
import { createArchive, type TarWarnings } from './tar-process';
import { nameOf, printable, resolveRoot, type TreeEntry, walkTree, withoutNested } from './tree-walk';
import { type VolumeBatch, VolumePlanner, withHardLinks } from './volume-plan';

/** Directories and symbolic links, unpacked last: their times are then final, and no file was ever written through a link. */
export const TREE_VOLUME = 'vol-tree.tar';
/** Two tars keep reading and compressing busy on the small hosts that applications run on. */
const VOLUMES_AT_ONCE = 2;
/** More than that says nothing more to a person; the number is given. */
const WARNINGS_NAMED = 50;

/** Copies the trees. The roots are read once, by file, in a moving tree: `consistentAt` is when the last file was read. */
export async function dumpFiles(
  plan: DumpPlan,
  parent: ParentBackup | null,
  roots: readonly string[],
  settings: FilesSettings,
  sink: VolumeSink,
  ctx: CallContext,
): Promise<DumpResult> {
  const known = plan.type === 'incr' ? await knownBy(plan, parent, ctx) : null;
  const startedAt = new Date().toISOString();
  const dump = new TreeDump(settings, known, sink, ctx);
  const found = await dump.resolve(roots);
  await dump.run(found);
  return {
    start: null,
    stop: null,
    startedAt,
    consistentAt: new Date().toISOString(),
    identity: `${plan.source.member}:${found.join(',')}`,
    lineage: null,
    serverVersion: `${process.platform} ${release()}`,
    toolVersions: { tar: 'GNU tar, pax format' },
    source: plan.source,
    warnings: dump.warnings(),
    detail: {
      roots: found,
      entries: dump.entries,
      unchanged: dump.unchanged,
      retriedVolume: dump.retriedVolume,
      listingVersion: LISTING_VERSION,
    },
  };
}

async function knownBy(plan: DumpPlan, parent: ParentBackup | null, ctx: CallContext): Promise<KnownFiles> {
  if (!parent) {
    throw failure('BackupIncomplete', `${plan.backupId} is incremental to ${plan.parent}, which was not handed over`);
  }
  try {
    return await KnownFiles.read(parent, ctx);
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    throw failure('IncrementalRefused', `${plan.parent} is damaged: ${reasonOf(error)}`, { cause: error });
  }
}

class TreeDump {
  entries = 0;
  /** Files whose content an earlier backup holds. */
  unchanged = 0;
  retriedVolume: string | null = null;
  readonly #settings: FilesSettings;
  readonly #known: KnownFiles | null;
  readonly #sink: VolumeSink;
  readonly #ctx: CallContext;
  readonly #stop = new AbortController();
  readonly #signal: AbortSignal;
  readonly #running = new Set<Promise<void>>();
  readonly #warnings: string[] = [];
  readonly #changed: Buffer[] = [];
  /** Vanished or not readable since the walk; of an incremental the older state of it must not come back. */
  readonly #missed: Buffer[] = [];
  #warningCount = 0;
  #volumes = 0;
  #doneBytes = 0;

  constructor(settings: FilesSettings, known: KnownFiles | null, sink: VolumeSink, ctx: CallContext) {
    this.#settings = settings;
    this.#known = known;
    this.#sink = sink;
    this.#ctx = ctx;
    this.#signal = AbortSignal.any([ctx.signal, this.#stop.signal]);
  }

  /** The directories behind the roots, each once. Throws TargetUnreachable when there is none at all. */
  async resolve(roots: readonly string[]): Promise<string[]> {
    const found: string[] = [];
    for (const root of roots) {
      const real = await resolveRoot(root);
      if (real === null) this.#warn(`${root} does not exist and is not in the backup`);
      else if (real !== root) this.#warn(`${root} is a link: ${real} is what was saved`);
      if (real !== null) found.push(real);
    }
    if (found.length === 0) throw failure('TargetUnreachable', `none of the directories exists: ${roots.join(', ')}`);
    return withoutNested(found);
  }

  async run(roots: readonly string[]): Promise<void> {
    const directoriesAndLinks = new PassThrough({ objectMode: true });
    const listing = this.#open(LISTING_VOLUME);
    // Whatever fails first ends all the others; nothing goes on behind the caller's back.
    const tree = this.#guard(this.#archiveTree(directoriesAndLinks as AsyncIterable<TreeEntry>));
    tree.catch(() => undefined); // awaited below; it may fail while we walk
    try {
      await this.#walk(roots, directoriesAndLinks, listing);
      directoriesAndLinks.end();
      await Promise.all([...this.#running, tree]);
      await this.#retryChanged();
      await this.#listDeleted();
      await end(listing, this.#signal);
    } catch (error) {
      this.#stop.abort(error);
      directoriesAndLinks.destroy();
      listing.destroy();
      await Promise.allSettled([...this.#running, tree]);
      this.#ctx.signal.throwIfAborted();
      // The first failure is the reason; the others only say that they were stopped.
      throw this.#signal.reason === undefined || this.#signal.reason === error ? error : this.#signal.reason;
    }
  }

  warnings(): string[] {
    const more = this.#warningCount - this.#warnings.length;
    return more > 0 ? [...this.#warnings, `and ${more} more`] : [...this.#warnings];
  }

  async #walk(roots: readonly string[], tree: PassThrough, listing: Writable): Promise<void> {
    const planner = new VolumePlanner(
      this.#sink.targetVolumeBytes,
      () => this.#nextVolume(),
      (entry) => this.#isStored(entry),
    );
    const options = {
      excluded: excludeMatcher(this.#settings.excludes),
      oneFileSystem: this.#settings.oneFileSystem,
      onProblem: (problem: string) => this.#warn(problem),
      signal: this.#signal,
    };
    for (const root of roots) {
      for await (const entry of walkTree(root, nameOf(root), options)) {
        if (entry.type === 'socket' || (entry.type === 'device' && !this.#settings.devices)) {
          this.#warn(`${printable(entry.absolute)} is a ${entry.type} and is not in the backup`);
          continue;
        }
        this.entries++;
        this.#report();
        if (entry.type === 'directory' || entry.type === 'link') {
          await write(tree, entry, this.#signal);
          if (!this.#known?.isUnchanged([entry])) await this.#listTree(entry, listing);
        } else {
          planner.add(entry);
          await this.#archive(planner.full(), listing);
        }
      }
    }
    while (planner.addLinked()) await this.#archive(planner.full(), listing);
    await this.#archive(planner.rest(), listing);
  }

  #isStored(names: readonly TreeEntry[]): boolean {
    if (!this.#known?.isUnchanged(names)) return false;
    this.unchanged += names.length;
    return true;
  }

  async #listTree(entry: TreeEntry, listing: Writable): Promise<void> {
    // A link that vanished since is in no archive either.
    const linkTarget = entry.type === 'link' ? await fs.readlink(entry.absolute, 'buffer').catch(() => null) : null;
    const links = entry.type === 'link' ? Number(entry.stat.nlink) : 1;
    await write(listing, listingLine(entry, TREE_VOLUME, { linkTarget, links }), this.#signal);
  }

  /** Begins a volume, after waiting for one of the running ones where there are enough. */
  async #archive(batch: VolumeBatch | null, listing: Writable): Promise<void> {
    if (batch === null) return;
    while (this.#running.size >= VOLUMES_AT_ONCE) await Promise.race(this.#running);
    const work = this.#guard(this.#archiveVolume(batch, listing)).finally(() => this.#running.delete(work));
    this.#running.add(work);
    work.catch(() => undefined); // run() awaits it, perhaps later
  }

  async #archiveTree(entries: AsyncIterable<TreeEntry>): Promise<void> {
    const found = new FoundTree();
    const { other } = await this.#create(TREE_VOLUME, found.names(entries), found);
    // A directory in which something happened meanwhile is not torn.
    this.#note({ changed: [], other }, false);
  }

  /** Listed is what tar stored: what vanished or could not be read is not, so that the next incremental tries it again. */
  async #archiveVolume({ volume, names, linked, contentBytes, lines }: VolumeBatch, listing: Writable): Promise<void> {
    const found = new FoundFiles(this.#settings.devices);
    const warnings = await this.#create(volume, names, found);
    this.#note({ ...warnings, changed: withHardLinks(warnings.changed, linked) }, false);
    for (const [index, line] of lines.entries()) {
      const name = names[index] as Buffer;
      if (found.stored.has(name.toString('latin1'))) await write(listing, line, this.#signal);
      else this.#missed.push(name);
    }
    this.#doneBytes += contentBytes;
    this.#report();
  }

  #report(): void {
    this.#ctx.progress({ phase: 'archiving files', doneBytes: this.#doneBytes, doneItems: this.entries });
  }

  /** Files that changed while tar read them, once more, into a volume that is unpacked after the others. */
  async #retryChanged(): Promise<void> {
    if (this.#changed.length === 0) return;
    this.retriedVolume = this.#nextVolume();
    const found = new FoundFiles(this.#settings.devices);
    this.#note(await this.#create(this.retriedVolume, this.#changed.splice(0), found), true);
  }

  async #create(volume: string, names: Iterable<Buffer> | AsyncIterable<Buffer>, found: AsFound): Promise<TarWarnings> {
    const members = new StoredMembers(volume, found);
    const warnings = await createArchive(names, members, this.#sink.volume(volume), this.#signal);
    for (const name of members.replaced)
      this.#warn(
        `/${printable(name)}, or a directory above it, was replaced while it was read: it is not in the backup`,
      );
    return warnings;
  }

  async #listDeleted(): Promise<void> {
    if (!this.#known) return;
    const deleted = this.#open(DELETED_VOLUME);
    for (const name of this.#missed) await write(deleted, Buffer.concat([name, NUL]), this.#signal);
    for await (const name of this.#known.gone()) {
      await write(deleted, Buffer.concat([name.subarray(1), NUL]), this.#signal);
    }
    await end(deleted, this.#signal);
  }

  #open(volume: string): Writable {
    const stream = this.#sink.volume(volume);
    stream.on('error', (error) => this.#stop.abort(error));
    return stream;
  }

  #note({ changed, other }: TarWarnings, last: boolean): void {
    for (const warning of other) this.#warn(warning);
    if (!last) this.#changed.push(...changed);
    else
      for (const name of changed)
        this.#warn(`/${printable(name)} changed again while it was read: its copy may be torn`);
  }

  #nextVolume(): string {
    return `vol-${String(++this.#volumes).padStart(5, '0')}.tar`;
  }

  #guard<T>(work: Promise<T>): Promise<T> {
    return work.catch((error: unknown) => {
      this.#stop.abort(error);
      throw error;
    });
  }

  #warn(warning: string): void {
    this.#warningCount++;
    if (this.#warnings.length < WARNINGS_NAMED) this.#warnings.push(warning);
  }
}

async function write(stream: Writable, chunk: Buffer | string | TreeEntry, signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  if (!stream.write(chunk)) await once(stream, 'drain', { signal });
}

const NUL = Buffer.from([0]);

async function end(stream: Writable, signal: AbortSignal): Promise<void> {
  stream.end();
  await finished(stream, { signal });
}
