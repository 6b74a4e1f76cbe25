import { createHash } from 'node:crypto';
import { failure } from '../../../core/errors';
import { type ChecksumAlgorithm, isChecksumAlgorithm } from './member-checksum';

export interface ManifestFile {
  readonly sizeBytes: number;
  readonly algorithm: ChecksumAlgorithm;
  /** Lower-case hexadecimal; empty for NONE. */
  readonly checksum: string;
}

interface RawFile {
  readonly Path?: string;
  readonly 'Encoded-Path'?: string;
  readonly Size: number;
  readonly 'Checksum-Algorithm'?: string;
  readonly Checksum?: string;
}

/**
 * Reads PostgreSQL's backup_manifest (documentation, "Backup Manifest Format") and verifies its own checksum. Throws
 * BackupCorrupt.
 */
export function readBackupManifest(bytes: Buffer, where: string): Map<string, ManifestFile> {
  const corrupt = (why: string, cause?: unknown) => failure('BackupCorrupt', `${where}: ${why}`, { cause });
  let content: { Files?: RawFile[]; 'Manifest-Checksum'?: string };
  try {
    content = JSON.parse(bytes.toString('utf8')) as typeof content;
  } catch (error) {
    throw corrupt('it is not a backup manifest', error);
  }
  // The checksum is of every line but the last, which holds it.
  const lastLine = bytes.lastIndexOf('\n', bytes.length - 2) + 1;
  const found = createHash('sha256').update(bytes.subarray(0, lastLine)).digest('hex');
  if (found !== content['Manifest-Checksum']) throw corrupt('its own checksum is wrong');
  const files = new Map<string, ManifestFile>();
  for (const file of content.Files ?? []) {
    const name = file.Path ?? Buffer.from(file['Encoded-Path'] ?? '', 'hex').toString('utf8');
    const algorithm = file['Checksum-Algorithm'] ?? 'NONE';
    if (!isChecksumAlgorithm(algorithm)) throw corrupt(`${name} has a checksum of the unknown kind ${algorithm}`);
    if (algorithm !== 'NONE' && !file.Checksum) throw corrupt(`${name} has no checksum`);
    files.set(name, { sizeBytes: file.Size, algorithm, checksum: file.Checksum ?? '' });
  }
  return files;
}
