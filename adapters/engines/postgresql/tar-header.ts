import { failure } from '../../../core/errors';

export const TAR_BLOCK_BYTES = 512;
/** Two blocks of zeros end an archive (POSIX ustar). */
export const TAR_END = Buffer.alloc(2 * TAR_BLOCK_BYTES);

export interface TarMember {
  readonly name: string;
  readonly type: 'file' | 'directory' | 'link';
  readonly sizeBytes: number;
  readonly mode: number;
  readonly linkTarget: string;
}

/**
 * Reads one header as PostgreSQL writes them: plain ustar, names of at most 100 bytes (longer ones are an error of the
 * server), sizes from 8 GiB on in base 256 (src/port/tar.c). Null for the block of zeros that ends an archive. Throws
 * BackupCorrupt for anything else.
 */
export function readTarHeader(block: Buffer, where: string): TarMember | null {
  if (block[0] === 0) return null;
  const sum = Number.parseInt(text(block, 148, 8), 8);
  if (sum !== checksum(block)) throw failure('BackupCorrupt', `${where}: a tar header has a wrong checksum`);
  const prefix = text(block, 345, 155);
  const name = text(block, 0, 100);
  const flag = String.fromCharCode(block[156] as number);
  const type = flag === '0' || flag === '\0' ? 'file' : flag === '5' ? 'directory' : flag === '2' ? 'link' : null;
  if (type === null) throw failure('BackupCorrupt', `${where}: ${name} is of the unexpected tar type "${flag}"`);
  return {
    name: prefix ? `${prefix}/${name}` : name,
    type,
    sizeBytes: type === 'file' ? size(block) : 0,
    mode: Number.parseInt(text(block, 100, 8), 8) & 0o777,
    linkTarget: type === 'link' ? text(block, 157, 100) : '',
  };
}

/** Bytes of content and padding that follow a header. */
export function paddedBytes(sizeBytes: number): number {
  return Math.ceil(sizeBytes / TAR_BLOCK_BYTES) * TAR_BLOCK_BYTES;
}

function text(block: Buffer, from: number, length: number): string {
  const end = block.indexOf(0, from);
  return block.toString('utf8', from, end === -1 || end > from + length ? from + length : end).trim();
}

function size(block: Buffer): number {
  if ((block[124] as number) & 0x80) return Number(block.readBigUInt64BE(128));
  return Number.parseInt(text(block, 124, 12), 8);
}

/** The sum of all bytes, the checksum's own eight counted as spaces. */
function checksum(block: Buffer): number {
  let sum = 8 * 0x20;
  for (let at = 0; at < TAR_BLOCK_BYTES; at += 1) if (at < 148 || at >= 156) sum += block[at] as number;
  return sum;
}
