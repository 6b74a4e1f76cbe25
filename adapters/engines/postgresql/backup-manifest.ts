import { createHash } from 'node:crypto';
import { failure } from '../../../core/errors';

export interface ManifestFile {
  readonly sizeBytes: number;
  /** Lower-case hexadecimal SHA-256. */
  readonly sha256: string;
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
 * BackupCorrupt, also for checksums other than SHA-256, which we always ask for.
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
    if (file['Checksum-Algorithm'] !== 'SHA256' || !file.Checksum) throw corrupt(`${name} has no SHA-256`);
    files.set(name, { sizeBytes: file.Size, sha256: file.Checksum });
  }
  return files;
}
