import { RESTORE_MARKER } from '../restore-marker';
import { malformed, readPaxRecords, readTarHeader, TAR_BLOCK, type TarHeader } from './tar-member';

/** Which members a volume may hold: contents, or the tree of directories and symbolic links. */
export type VolumeRole = 'contents' | 'tree';

/** Extended attributes are at most 64 KiB each on Linux; a header that is larger than this is an attack on memory. */
const GREATEST_EXTENDED_HEADER = 8 * 1024 * 1024;

/**
 * Passes an archive on to tar, member by member, each only after it was found harmless: it stays below the directory, and
 * nothing is written through a link. The order of a restore does the rest: while contents are unpacked no symbolic link
 * exists, because only the tree volume may hold them, and that one is unpacked last, alone. Symbolic links themselves are
 * restored as they were, wherever they point: they are data, and nothing here follows one.
 *
 * `prepare` is told each name (bytes as latin1) before tar sees it; what it answers false for is judged as the others are and
 * left out. Throws BackupCorrupt naming volume and member. tar gets the archive's end only when the content has ended without an
 * error. Needs memory for the names of symbolic links, and no other.
 */
export async function* gateArchive(
  content: AsyncIterable<Buffer>,
  volume: string,
  role: VolumeRole,
  devices: boolean,
  prepare: (name: string) => Promise<boolean> | boolean = () => true,
): AsyncGenerator<Buffer, void, undefined> {
  const judge = new MemberJudge(volume, role, devices);
  const bytes = new ByteQueue(content);
  let extended: ReadonlyMap<string, string> | null = null;
  let extendedBlocks: readonly Buffer[] = [];
  for (let endBlocks = 0; ;) {
    const block = await bytes.take(TAR_BLOCK);
    if (block.length === 0) {
      if (endBlocks === 0 || extended) throw malformed(volume, 'it ends too early');
      // Only now: tar ends at its end mark, and nobody would hear of a digest that is found wrong after that.
      for (; endBlocks > 0; endBlocks -= 1) yield ZERO;
      return;
    }
    if (block.length < TAR_BLOCK) throw malformed(volume, 'it ends inside a block');
    if (endBlocks > 0 || isZero(block)) {
      if (!isZero(block)) throw malformed(volume, 'something comes after its end');
      endBlocks += 1;
      continue;
    }
    const header = readTarHeader(block, volume);
    if (header.type === 'x') {
      if (extended || header.sizeBytes > GREATEST_EXTENDED_HEADER)
        throw malformed(volume, 'two extended headers, or a huge one');
      const padded = await bytes.take(paddedSize(header.sizeBytes));
      if (padded.length < paddedSize(header.sizeBytes)) throw malformed(volume, 'it ends inside a header');
      extended = readPaxRecords(padded.subarray(0, header.sizeBytes), volume);
      extendedBlocks = [block, padded];
      continue;
    }
    const { path, sizeBytes } = judge.admit(header, extended ?? new Map());
    const isWanted = await prepare(path);
    if (isWanted) yield* [...extendedBlocks, block];
    [extended, extendedBlocks] = [null, []];
    for (let left = paddedSize(sizeBytes); left > 0;) {
      const part = await bytes.some(left);
      if (part.length === 0) throw malformed(volume, `it ends inside ${header.name}`);
      left -= part.length;
      if (isWanted) yield part;
    }
  }
}

/** 0 file, 1 hard link, 2 symbolic link, 3 and 4 devices, 5 directory, 6 FIFO. */
export const admittedTypes = (role: VolumeRole, devices: boolean): string =>
  role === 'tree' ? '125' : `016${devices ? '34' : ''}`;

class MemberJudge {
  readonly #volume: string;
  readonly #types: string;
  readonly #role: VolumeRole;
  readonly #links = new Set<string>();

  constructor(volume: string, role: VolumeRole, devices: boolean) {
    this.#volume = volume;
    this.#role = role;
    this.#types = admittedTypes(role, devices);
  }

  /** Where it goes and how many bytes follow. Throws for a member that must not reach tar. */
  admit(header: TarHeader, extended: ReadonlyMap<string, string>): { path: string; sizeBytes: number } {
    const name = extended.get('path') ?? header.name;
    const linkName = extended.get('linkpath') ?? header.linkName;
    const sparseName = extended.get('GNU.sparse.name');
    if (!this.#types.includes(header.type)) throw this.#refusal(name, `a member of type "${header.type}"`);
    for (const each of [name, header.name, ...(sparseName === undefined ? [] : [sparseName])]) {
      if (!staysBelow(each)) throw this.#refusal(each, 'a name that leaves the directory');
    }
    const path = plainName(sparseName ?? name);
    if (this.#throughLink(path)) throw this.#refusal(path, 'a member below a symbolic link');
    if (header.type === '1' && !this.#mayLinkTo(linkName)) throw this.#refusal(name, `a hard link to ${linkName}`);
    if (header.type === '2' && linkName.includes('\0')) throw this.#refusal(name, 'a link with a null byte');
    if (this.#role === 'tree' && header.type !== '5') this.#links.add(path);
    const size = extended.get('size');
    if (size !== undefined && !/^\d{1,15}$/.test(size)) throw malformed(this.#volume, 'a size is not a number');
    const sizeBytes = size === undefined ? header.sizeBytes : Number(size);
    if (header.type !== '0' && sizeBytes !== 0) throw this.#refusal(name, 'content where none belongs');
    return { path, sizeBytes };
  }

  /** Only the tree volume brings symbolic links, so only names seen in it can be one. */
  #throughLink(path: string): boolean {
    if (this.#links.size === 0) return false;
    if (this.#links.has(path)) return true;
    for (let slash = path.indexOf('/'); slash >= 0; slash = path.indexOf('/', slash + 1)) {
      if (this.#links.has(path.slice(0, slash))) return true;
    }
    return false;
  }

  #mayLinkTo(target: string): boolean {
    return staysBelow(target) && (this.#role === 'contents' || this.#links.has(plainName(target)));
  }

  #refusal(name: string, why: string): unknown {
    return malformed(this.#volume, `it holds ${why}: ${JSON.stringify(name.slice(0, 200))}`);
  }
}

function staysBelow(name: string): boolean {
  if (name.includes('\0')) return false;
  const parts = plainName(name).split('/');
  return parts.every((part) => part !== '' && part !== '.' && part !== '..') && parts[0] !== RESTORE_MARKER;
}

/** Without the slash of a directory, and without the `./` that GNU tar puts before a sparse file at the top. */
export const plainName = (name: string) => name.replace(/^\.\//, '').replace(/\/$/, '');
const paddedSize = (sizeBytes: number) => Math.ceil(sizeBytes / TAR_BLOCK) * TAR_BLOCK;
const ZERO = Buffer.alloc(TAR_BLOCK);
const isZero = (block: Buffer) => block.equals(ZERO);

/** Bytes of a stream by number. Holds one chunk. */
class ByteQueue {
  readonly #chunks: AsyncIterator<Buffer>;
  #rest: Buffer = Buffer.alloc(0);

  constructor(content: AsyncIterable<Buffer>) {
    this.#chunks = content[Symbol.asyncIterator]();
  }

  /** Up to `most` bytes, as they come; none at the end. */
  async some(most: number): Promise<Buffer> {
    while (this.#rest.length === 0) {
      const { value, done } = await this.#chunks.next();
      if (done) return this.#rest;
      this.#rest = value;
    }
    const part = this.#rest.subarray(0, most);
    this.#rest = this.#rest.subarray(part.length);
    return part;
  }

  /** Exactly `length` bytes, fewer only at the end. */
  async take(length: number): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (let left = length; left > 0;) {
      const part = await this.some(left);
      if (part.length === 0) break;
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts);
  }
}
