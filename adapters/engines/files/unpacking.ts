import * as fs from 'node:fs/promises';
import { Readable } from 'node:stream';
import type { CallContext } from '../../../core/call';
import type { Artifact, Manifest } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { VolumeSource } from '../../../core/volumes';
import { gateArchive } from './archive-gate';
import { TREE_VOLUME } from './dump';
import { extractArchive } from './tar-process';
import type { WantedMembers } from './wanted-members';

const VOLUMES_AT_ONCE = 2;

/** A volume, and what of it is wanted, named in bytes as latin1; `wants` is absent for all. */
interface Unpacked extends Artifact {
  readonly isRetried: boolean;
  readonly wants?: (name: string) => boolean;
}

export interface UnpackedVolumes {
  readonly contents: readonly Unpacked[];
  readonly tree: Unpacked;
  readonly contentBytes: number;
  /** How many of the wanted files no volume had yet. */
  readonly lacking: () => number;
}

export interface UnpackInto {
  readonly directory: string;
  readonly devices: boolean;
}

/** The volumes of a chain that make up its last state; `wanted` is null for all of a full. */
export function volumesOf(chain: readonly Manifest[], wanted: WantedMembers | null): UnpackedVolumes {
  const last = chain.at(-1) as Manifest;
  const contents = chain.flatMap((each) => contentsOf(each, wanted));
  const found = last.artifacts.find(({ name }) => name === TREE_VOLUME);
  if (!found) throw failure('BackupCorrupt', `backup ${last.backupId} of ${last.store} names no ${TREE_VOLUME}`);
  const wants = wanted?.ofTree();
  const tree = { ...found, isRetried: false, ...(wants ? { wants } : {}) };
  const contentBytes = [tree, ...contents].reduce((sum, each) => sum + each.contentBytes, 0);
  return { contents, tree, contentBytes, lacking: () => wanted?.lacking ?? 0 };
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
    .map((each) => (wanted ? { ...each, wants: (name) => wanted.take(backupId, name) } : each));
}

const CONTENTS_VOLUME = /^vol-\d+\.tar$/;

/**
 * Unpacks into a directory in which nobody else writes. `beforeTree` comes between the files and the directories and symbolic
 * links, while there is no symbolic link yet.
 */
export async function unpackVolumes(
  { contents, tree, contentBytes, lacking }: UnpackedVolumes,
  source: VolumeSource,
  into: UnpackInto,
  ctx: CallContext,
  beforeTree: () => Promise<void> = async () => undefined,
): Promise<void> {
  const unpack = new Unpacking(source, into, contentBytes, ctx);
  await unpack.inParallel(contents.filter(({ isRetried }) => !isRetried));
  // These come after all others: the second reading of files that changed, and the tree that sets directories' times.
  for (const each of contents.filter(({ isRetried }) => isRetried)) await unpack.one(each, 'contents');
  if (lacking() > 0) {
    throw failure('BackupCorrupt', `files listed up to ${tree.key} are in none of the volumes: ${lacking()}`);
  }
  await beforeTree();
  await unpack.one(tree, 'tree');
}

class Unpacking {
  readonly #source: VolumeSource;
  readonly #into: UnpackInto;
  readonly #totalBytes: number;
  readonly #ctx: CallContext;
  readonly #stop = new AbortController();
  #doneBytes = 0;

  constructor(source: VolumeSource, into: UnpackInto, totalBytes: number, ctx: CallContext) {
    this.#source = source;
    this.#into = into;
    this.#totalBytes = totalBytes;
    this.#ctx = ctx;
  }

  async inParallel(artifacts: readonly Unpacked[]): Promise<void> {
    const waiting = [...artifacts];
    const lane = async () => {
      for (let next = waiting.shift(); next; next = waiting.shift()) await this.one(next, 'contents');
    };
    // Each is awaited: nothing may be unpacked behind the back of a caller who was told that it failed.
    const ends = await Promise.allSettled(Array.from({ length: VOLUMES_AT_ONCE }, lane));
    const failed = ends.find((end) => end.status === 'rejected');
    if (failed) throw failed.reason;
  }

  async one(artifact: Unpacked, role: 'contents' | 'tree'): Promise<void> {
    try {
      await this.#unpack(artifact, role);
    } catch (error) {
      // The other lane stops too, and its error is then this one.
      this.#stop.abort(error);
      this.#ctx.signal.throwIfAborted();
      throw this.#stop.signal.reason;
    }
  }

  async #unpack(artifact: Unpacked, role: 'contents' | 'tree'): Promise<void> {
    const signal = AbortSignal.any([this.#ctx.signal, this.#stop.signal]);
    signal.throwIfAborted();
    const content = await this.#source.open(artifact);
    // Symbolic links exist only from the tree volume on, which makes its directories itself.
    const prepare = role === 'contents' ? this.#makeParents(artifact.wants) : artifact.wants;
    const gate = gateArchive(this.#counted(content), artifact.key, role, this.#into.devices, prepare);
    try {
      await extractArchive(Readable.from(gate, { objectMode: false }), this.#into.directory, signal);
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
      const directory = `${Buffer.from(this.#into.directory).toString('latin1')}/${parent}`;
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
