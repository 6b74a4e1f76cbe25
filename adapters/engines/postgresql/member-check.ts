import { failure } from '../../../core/errors';
import type { ManifestFile } from './backup-manifest';
import { type ChecksumAlgorithm, memberChecksum, type MemberChecksum } from './member-checksum';

interface Seen {
  readonly sizeBytes: number;
  readonly checksum: string;
}

/**
 * What `pg_verifybackup` checks, done while a base backup goes by: every file of the server's manifest arrived once, whole
 * and with its checksum, and no other did. The manifest comes last, so what was seen is kept until then: a few dozen bytes
 * a file.
 */
export class MemberCheck {
  private readonly algorithm: ChecksumAlgorithm;
  private readonly seen = new Map<string, Seen>();
  private open: { readonly name: string; readonly sizeBytes: number; readonly checksum: MemberChecksum } | null = null;

  constructor(algorithm: ChecksumAlgorithm) {
    this.algorithm = algorithm;
  }

  /** A file begins; `name` as in the manifest (`base/5/1259`, `pg_tblspc/16384/PG_18_…/5/16385`). */
  begin(name: string, sizeBytes: number): void {
    this.end();
    this.open = { name, sizeBytes, checksum: memberChecksum(this.algorithm) };
  }

  content(bytes: Buffer): void {
    this.open?.checksum.update(bytes);
  }

  /** The file is complete. May be repeated. */
  end(): void {
    if (this.open === null) return;
    const { name, sizeBytes, checksum } = this.open;
    this.seen.set(name, { sizeBytes, checksum: checksum.hex() });
    this.open = null;
  }

  /** Throws BackupCorrupt naming the first files that are not as the manifest says. */
  compare(files: ReadonlyMap<string, ManifestFile>, where: string): void {
    this.end();
    const wrong: string[] = [];
    for (const [name, expected] of files) {
      const found = this.seen.get(name);
      if (!found) wrong.push(`${name} is missing`);
      else if (found.sizeBytes !== expected.sizeBytes)
        wrong.push(`${name} has ${found.sizeBytes} bytes instead of ${expected.sizeBytes}`);
      else if (expected.algorithm !== this.algorithm || found.checksum !== expected.checksum)
        wrong.push(`${name} differs from its checksum`);
    }
    for (const name of this.seen.keys()) if (!files.has(name)) wrong.push(`${name} is not in the manifest`);
    if (wrong.length === 0) return;
    const more = wrong.length > 5 ? ` and ${wrong.length - 5} more` : '';
    throw failure(
      'BackupCorrupt',
      `${where}: what the server sent is not what its manifest says: ${wrong.slice(0, 5).join('; ')}${more}`,
      {
        data: 'No backup was committed; earlier ones are not affected.',
        next: 'Start the backup again. If it fails again, look for a network or memory that damages data.',
      },
    );
  }
}
