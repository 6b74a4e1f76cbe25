import type { Artifact } from '../../../core/catalog';
import type { ManifestFile } from './backup-manifest';
import { paddedBytes, TAR_BLOCK_BYTES, TAR_END } from './tar-header';

/** Directories that no file of the manifest lies in: pg_wal, pg_notify, pg_replslot and their like. */
const EMPTY_DIRECTORIES = 64;

/** The archive that a file or volume belongs to: a tablespace by its OID, or the base directory. */
function archiveOf(name: string, pattern: RegExp): string {
  return pattern.exec(name)?.[1] ?? '';
}

/**
 * The volumes that may hold the wanted files, so that the others need not be read. The server writes its manifest in the
 * order in which it sends the files, and volumes are cut out of that stream: only the headers of directories, which the
 * manifest leaves out, make the places uncertain, by less than a volume's end.
 */
export function volumesHolding<A extends Pick<Artifact, 'name' | 'contentBytes'>>(
  artifacts: readonly A[],
  files: ReadonlyMap<string, Pick<ManifestFile, 'sizeBytes'>>,
  isWanted: (name: string) => boolean,
): A[] {
  const directories = new Set([...files.keys()].map((name) => name.slice(0, name.lastIndexOf('/') + 1)));
  const uncertainBytes = (directories.size + EMPTY_DIRECTORIES) * TAR_BLOCK_BYTES;
  const wantedBytes = new Map<string, { readonly from: number; readonly to: number }[]>();
  const sent = new Map<string, number>();
  for (const [name, { sizeBytes }] of files) {
    const archive = archiveOf(name, /^pg_tblspc\/(\d+)\//);
    const from = sent.get(archive) ?? 0;
    const to = from + TAR_BLOCK_BYTES + paddedBytes(sizeBytes);
    sent.set(archive, to);
    if (!isWanted(name)) continue;
    const ranges = wantedBytes.get(archive);
    if (ranges) ranges.push({ from, to: to + uncertainBytes });
    else wantedBytes.set(archive, [{ from, to: to + uncertainBytes }]);
  }
  const read = new Map<string, number>();
  return artifacts
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .filter(({ name, contentBytes }) => {
      const archive = archiveOf(name, /^(\d+)-vol-/);
      const from = read.get(archive) ?? 0;
      const to = from + contentBytes - TAR_END.length;
      read.set(archive, to);
      // A tablespace without files still has its directory.
      if (!sent.has(archive)) return true;
      return wantedBytes.get(archive)?.some((range) => range.from < to && range.to > from) ?? false;
    });
}
