import { execFile } from 'node:child_process';
import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { promisify } from 'node:util';
import type { CallContext } from '../../../core/call';
import type { Artifact, Manifest } from '../../../core/catalog';
import type { Restore, RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { RestoredStore } from '../../../core/recovery';
import type { VolumeSource } from '../../../core/volumes';
import { requireFreeBytes } from '../../filesystem/durable';
import { advance, claimPlace, newTry, readMarker, removePlace, requireClaim } from '../restore-marker';
import { gateArchive } from './archive-gate';
import { TREE_VOLUME } from './dump';
import { extractArchive } from './tar-process';
import { WantedMembers } from './wanted-members';

const VOLUMES_AT_ONCE = 2;

/**
 * Unpacks the trees below the place, each under its full path (`<place>/opt/ultramarket/…`). Owners are those of the
 * archive when the worker is root, else the worker; `osUser` is for engines with a server and does not matter here.
 */
export function filesRestore(store: string, devices: boolean, liveRoots: readonly string[]): Restore {
  return {
    leaves: ['open'],

    async rebuild({ restoreId, chain, place }, source, _log, ctx) {
      const manifest = chain.at(-1);
      if (!manifest) throw failure('NotFound', 'the restore names no backup');
      const { roots } = manifest.detail as { roots?: string[] };
      const marker = { restoreId, engine: 'files', store, tryId: newTry(), detail: {} };
      await requireApart(place.directory, liveRoots);
      await claimPlace(place, marker, () => allowRemoval(place.directory));
      // A full is unpacked whole; of a chain what its last state names.
      const wanted = chain.length === 1 ? null : await WantedMembers.read(manifest, source, ctx.signal);
      const contents = chain.flatMap((each) => contentsOf(each, wanted));
      const tree = artifactOf(manifest, TREE_VOLUME);
      const total = [tree, ...contents].reduce((sum, each) => sum + each.contentBytes, 0);
      await requireFreeBytes(place.directory, Math.min(total, wanted?.contentBytes ?? total), `restore of ${store}`);
      const unpack = new Unpacking(source, place.directory, devices, total, ctx);
      await unpack.inParallel(contents.filter((each) => !each.isRetried));
      // These come after all others: the second reading of files that changed, and the tree that sets directories' times.
      for (const each of contents.filter(({ isRetried }) => isRetried)) await unpack.one(each, 'contents');
      await unpack.one(tree, 'tree');
      await advance(place.directory, { ...marker, detail: { roots: roots ?? [], rebuilt: true } });
    },

    async replay(request) {
      return restored(request);
    },

    async open(request) {
      return restored(request);
    },

    async discard(place) {
      await removePlace(place.directory, () => allowRemoval(place.directory));
    },
  };
}

/** The roots that a restored place holds; throws BackupIncomplete for one that was not unpacked to its end. */
export async function restoredRoots(directory: string): Promise<string[]> {
  const marker = await readMarker(directory);
  const { roots, rebuilt } = (marker?.detail ?? {}) as { roots?: string[]; rebuilt?: boolean };
  if (!rebuilt || !roots) throw failure('BackupIncomplete', `${directory} was not unpacked to its end`);
  return roots;
}

/** A volume, and what of it is wanted; `wants` is absent for all. */
interface Unpacked extends Artifact {
  readonly isRetried?: boolean;
  readonly wants?: (name: string) => boolean;
}

/** The volumes of files of one backup, without those of which nothing is wanted. */
function contentsOf({ backupId, artifacts, detail }: Manifest, wanted: WantedMembers | null): Unpacked[] {
  return artifacts
    .filter(({ name }) => CONTENTS_VOLUME.test(name))
    .map((each) => ({ ...each, isRetried: each.name === detail['retriedVolume'] }))
    .filter(({ name, isRetried }) =>
      // Listings name the volume of the first reading.
      isRetried ? (wanted?.inBackup(backupId) ?? true) : (wanted?.inVolume(backupId, name) ?? true),
    )
    .map((each) => (wanted ? { ...each, wants: (name) => wanted.has(backupId, name) } : each));
}

const CONTENTS_VOLUME = /^vol-\d+\.tar$/;

class Unpacking {
  readonly #source: VolumeSource;
  readonly #directory: string;
  readonly #devices: boolean;
  readonly #totalBytes: number;
  readonly #ctx: CallContext;
  readonly #stop = new AbortController();
  #doneBytes = 0;

  constructor(source: VolumeSource, directory: string, devices: boolean, totalBytes: number, ctx: CallContext) {
    this.#source = source;
    this.#directory = directory;
    this.#devices = devices;
    this.#totalBytes = totalBytes;
    this.#ctx = ctx;
  }

  async inParallel(artifacts: readonly Unpacked[]): Promise<void> {
    const waiting = [...artifacts];
    const lane = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await this.one(next, 'contents');
    };
    await Promise.all(Array.from({ length: VOLUMES_AT_ONCE }, lane));
  }

  async one(artifact: Unpacked, role: 'contents' | 'tree'): Promise<void> {
    const signal = AbortSignal.any([this.#ctx.signal, this.#stop.signal]);
    const content = await this.#source.open(artifact);
    // Symbolic links exist only from the tree volume on, which makes its directories itself.
    const prepare = role === 'contents' ? this.#makeParents(artifact.wants) : undefined;
    const gate = gateArchive(this.#counted(content), artifact.key, role, this.#devices, prepare);
    const checked = Readable.from(gate, { objectMode: false });
    try {
      await extractArchive(checked, this.#directory, signal);
    } catch (error) {
      // The other lane stops too: nothing may be unpacked behind the back of a caller who was told that it failed.
      this.#stop.abort(error);
      this.#ctx.signal.throwIfAborted();
      throw this.#stop.signal.reason;
    } finally {
      content.destroy();
    }
  }

  /**
   * Makes the directories that a member lies in. Tar would too, but two of them at once fail over the same one ("Cannot
   * open: No such file or directory"). What they are to be like, the tree volume says in the end.
   */
  #makeParents(wants: Unpacked['wants']): (name: string) => Promise<boolean> | boolean {
    let made = '';
    const make = async (parent: string) => {
      const directory = `${Buffer.from(this.#directory).toString('latin1')}/${parent}`;
      await fs.mkdir(Buffer.from(directory, 'latin1'), { recursive: true });
      made = parent;
      return true;
    };
    return (name) => {
      if (wants && !wants(name)) return false;
      const parent = name.slice(0, Math.max(0, name.lastIndexOf('/')));
      return parent === made || parent === '' ? true : make(parent);
    };
  }

  async *#counted(content: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    for await (const part of content) {
      this.#doneBytes += part.length;
      this.#ctx.progress({ phase: 'unpacking', doneBytes: this.#doneBytes, totalBytes: this.#totalBytes });
      yield part;
    }
  }
}

/** Rule 5: neither over the live tree, which `overwrite` would empty, nor inside it, where the next backup would find it. */
async function requireApart(directory: string, liveRoots: readonly string[]): Promise<void> {
  const place = await resolved(directory);
  for (const root of await Promise.all(liveRoots.map(resolved))) {
    if (`${place}/`.startsWith(`${root}/`) || `${root}/`.startsWith(place === '/' ? '/' : `${place}/`)) {
      throw failure('TargetNotEmpty', `restore to ${directory}: it overlaps the live directory ${root}`);
    }
  }
}

/** With links followed as far as the path exists. */
async function resolved(directory: string): Promise<string> {
  const parent = path.dirname(directory);
  return fs.realpath(directory).catch(async (error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT' || parent === directory) throw error;
    return path.join(await resolved(parent), path.basename(directory));
  });
}

function artifactOf(manifest: Manifest, name: string): Artifact {
  const found = manifest.artifacts.find((each) => each.name === name);
  if (found) return found;
  throw failure('BackupCorrupt', `backup ${manifest.backupId} of ${manifest.store} names no ${name}`);
}

async function restored({ restoreId, plan, place }: RestoreRequest): Promise<RestoredStore> {
  await requireClaim(place.directory, restoreId);
  await restoredRoots(place.directory);
  return {
    directory: place.directory,
    state: 'open',
    address: null,
    reachedPosition: null,
    reachedTime: plan.reaches.time,
    notes: plan.notes,
  };
}

/** Restored directories may forbid their owner to change them; root may anyway. */
async function allowRemoval(directory: string): Promise<void> {
  if (process.getuid?.() === 0) return;
  await promisify(execFile)('chmod', ['-R', 'u+rwX', '--', directory]);
}
