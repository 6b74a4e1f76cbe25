import * as fs from 'node:fs/promises';
import { hostname } from 'node:os';
import type { Engine, StoreProbe } from '../../../core/engine';
import { failure } from '../../../core/errors';
import { nearestBackupWindows, planNearestBackup } from '../../../core/nearest-backup';
import { chooseParent } from './choose-parent';
import { filesContents } from './contents';
import { dumpFiles } from './dump';
import { fingerprintTrees } from './fingerprint';
import { filesPositions } from './positions';
import { filesRestore, restoredRoots } from './restore';
import type { FilesSettings } from './settings';
import { resolveRoot, withoutNested } from './tree-walk';

export interface FilesEngineOptions {
  readonly store: string;
  readonly settings: FilesSettings;
}

/**
 * Directories of the host that the worker runs on: application trees and configuration. Restores to the nearest earlier
 * backup. Needs GNU tar.
 */
export function createFilesEngine({ store, settings }: FilesEngineOptions): Engine<'files'> {
  const rootsOf = (site: string): readonly string[] => {
    const found = settings.sites[site];
    if (found) return found.roots;
    throw failure('NotFound', `${store} has no site "${site}"; it has ${Object.keys(settings.sites).join(', ')}`);
  };
  const planning = { engine: 'files', store, positions: filesPositions };

  return {
    kind: 'files',
    store,
    artifactKind: () => settings.artifactKind,
    positions: filesPositions,
    log: null,
    replication: null,
    checks: null,
    restore: filesRestore(
      store,
      settings.devices,
      Object.values(settings.sites).flatMap(({ roots }) => roots),
    ),

    contents: filesContents(settings.devices),

    probe: (site) => probe(site, rootsOf(site)),

    async planDump({ backupId, type, site, existing: known }) {
      const existing = await existingRoots(rootsOf(site));
      if (existing.length === 0) {
        throw failure(
          'TargetUnreachable',
          `${store} at ${site}: none of ${rootsOf(site).join(', ')} exists on ${hostname()}`,
        );
      }
      const choice = type === 'full' ? null : chooseParent(hostname(), known, settings);
      const parent = choice !== null && 'parent' in choice ? choice.parent.backupId : null;
      return {
        // The id names the type: one that was made for an incremental must not lie about it.
        backupId: parent === null ? backupId.replace('-incr-', '-full-') : backupId,
        type: parent === null ? 'full' : 'incr',
        typeReason: choice !== null && 'why' in choice ? `incremental asked, full taken: ${choice.why}` : null,
        parent,
        source: { site, member: hostname() },
        estimatedBytes: null,
      };
    },

    dump: (plan, parent, sink, ctx) => dumpFiles(plan, parent, rootsOf(plan.source.site), settings, sink, ctx),

    planRestore: async (target, catalog) => planNearestBackup(planning, target, catalog.backups),
    windows: async (catalog) => nearestBackupWindows(catalog.backups),

    async fingerprint(of, ctx) {
      if ('site' in of) return fingerprintTrees(await existingRoots(rootsOf(of.site)), '', settings, ctx);
      return fingerprintTrees(await restoredRoots(of.directory), of.directory, settings, ctx);
    },
  };
}

/** The directories behind the roots, as a backup names them. */
async function existingRoots(roots: readonly string[]): Promise<string[]> {
  const found = await Promise.all(roots.map(resolveRoot));
  return withoutNested(found.filter((each) => each !== null));
}

async function probe(site: string, roots: readonly string[]): Promise<StoreProbe> {
  const problems: string[] = [];
  const found: string[] = [];
  for (const root of roots) {
    const real = await resolveRoot(root);
    if (real === null) problems.push(`${root} does not exist on ${hostname()}`);
    else if (
      await fs.access(real, fs.constants.R_OK | fs.constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      found.push(real);
    else problems.push(`${real} cannot be read by the worker's user`);
  }
  return {
    site,
    at: new Date().toISOString(),
    reachable: found.length > 0,
    role: found.length > 0 ? 'standalone' : 'unknown',
    writable: null,
    identity: found.length > 0 ? `${hostname()}:${found.join(',')}` : null,
    serverVersion: null,
    position: null,
    problems,
  };
}
