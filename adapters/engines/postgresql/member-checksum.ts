import { createHash } from 'node:crypto';
import { crc32c } from '@node-rs/crc32';

/** As the server names them (documentation, "Backup Manifest Format"). */
export type ChecksumAlgorithm = 'NONE' | 'CRC32C' | 'SHA224' | 'SHA256' | 'SHA384' | 'SHA512';

/** The checksum of one file of a backup, taken while its bytes go by. */
export interface MemberChecksum {
  update(bytes: Buffer): void;
  /** In hexadecimal, as the manifest writes it; empty for NONE. */
  hex(): string;
}

export function memberChecksum(algorithm: ChecksumAlgorithm): MemberChecksum {
  if (algorithm === 'NONE') return { update: () => undefined, hex: () => '' };
  if (algorithm === 'CRC32C') return new Crc32c();
  const hash = createHash(algorithm.toLowerCase());
  return { update: (bytes) => void hash.update(bytes), hex: () => hash.digest('hex') };
}

export function isChecksumAlgorithm(name: string): name is ChecksumAlgorithm {
  return /^(NONE|CRC32C|SHA(224|256|384|512))$/.test(name);
}

class Crc32c implements MemberChecksum {
  private value = 0;

  update(bytes: Buffer): void {
    this.value = crc32c(bytes, this.value);
  }

  /** The server writes the bytes as they lie in its memory (pg_checksum_final): little-endian wherever it is built today. */
  hex(): string {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(this.value);
    return bytes.toString('hex');
  }
}
