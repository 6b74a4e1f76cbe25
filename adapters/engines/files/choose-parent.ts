import { chainOf, type Manifest } from '../../../core/catalog';
import { LISTING_VERSION } from './listing';
import type { FilesSettings } from './settings';

/**
 * The backup that an incremental builds on, or why none can be: then a full is taken. Other roots and excludes since are no
 * reason: what they add is stored, and what they take away is gone.
 */
export function chooseParent(
  host: string,
  existing: readonly Manifest[],
  { maximumIncrements }: Pick<FilesSettings, 'maximumIncrements'>,
): { readonly parent: Manifest } | { readonly why: string } {
  const parent = existing.at(-1);
  if (!parent) return { why: 'there is no backup to build on' };
  const { backupId, source } = parent;
  const chain = chainOf(parent, existing);
  if (chain === null) return { why: `${backupId} builds on a backup that is missing or cannot be read` };
  if (chain.length > maximumIncrements) {
    return {
      why: `the chain up to ${backupId} has ${chain.length - 1} increments (maximumIncrements is ${maximumIncrements})`,
    };
  }
  // Inodes and times of change say nothing about the files of another host.
  if (source.member !== host) return { why: `${backupId} is of ${source.member}, and this is ${host}` };
  if (parent.detail['listingVersion'] !== LISTING_VERSION) {
    return { why: `the listing of ${backupId} does not say how its files were` };
  }
  return { parent };
}
