import { createHash } from 'node:crypto';
import { failure } from '../../../core/errors';
import { parseLsn } from './lsn';
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

export interface WalRange {
  readonly timeline: number;
  readonly start: bigint;
  readonly end: bigint;
}

export interface BackupManifest {
  readonly files: ReadonlyMap<string, ManifestFile>;
  /** Of the cluster; null before PostgreSQL 17, whose manifests do not say it. */
  readonly systemId: string | null;
  /** The WAL that makes the backup consistent. */
  readonly walRanges: readonly WalRange[];
}

interface RawWalRange {
  readonly Timeline: number;
  readonly 'Start-LSN': string;
  readonly 'End-LSN': string;
}

/** As text: JavaScript's numbers are too short for it. It stands in the second line. */
const SYSTEM_ID = /^"System-Identifier": (\d+),$/m;
const HEAD_BYTES = 256;

/**
 * Reads PostgreSQL's backup_manifest (documentation, "Backup Manifest Format") and verifies its own checksum. Throws
 * BackupCorrupt.
 */
export function readBackupManifest(bytes: Buffer, where: string): BackupManifest {
  const corrupt = (why: string, cause?: unknown) => failure('BackupCorrupt', `${where}: ${why}`, { cause });
  let content: { Files?: RawFile[]; 'WAL-Ranges'?: RawWalRange[]; 'Manifest-Checksum'?: string };
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
  const walRanges = (content['WAL-Ranges'] ?? []).map((range) => ({
    timeline: range.Timeline,
    start: parseLsn(range['Start-LSN']),
    end: parseLsn(range['End-LSN']),
  }));
  const systemId = SYSTEM_ID.exec(bytes.toString('latin1', 0, HEAD_BYTES))?.[1] ?? null;
  return { files, systemId, walRanges };
}
