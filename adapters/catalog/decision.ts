import type { Manifest } from '../../core/catalog';
import { failure, hasCode } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { decisionSchema } from './manifest-schema';
import { parseStored, sealed } from './stored-json';

/**
 * `catalog/<store>/<backupId>/decision.json`: which attempt of a backup may be committed, settled once. A commit and a
 * sweep that run at the same moment (a reset workflow, a process believed dead) both create this one object
 * conditionally and obey the one that stands, so that no order of their steps, and no crash between them, leaves a
 * manifest whose data were removed. Two objects that each side checks could not do that: a commit that dies between its
 * manifest and its second look would leave just such a manifest.
 */
export interface Decision {
  readonly formatVersion: 1;
  readonly store: string;
  readonly backupId: string;
  /** The attempt that is, or may be, committed; null: the backup was given up and its data are removed. */
  readonly attempt: number | null;
  /** What a commit was about to write, so that a sweep can end a commit that died before it did. */
  readonly manifest: Manifest | null;
}

export type Proposal = Pick<Decision, 'attempt' | 'manifest'>;

/** Settles the backup; answers what stands, which is an earlier decision where there is one. Repeatable. */
export async function decide(
  repository: Repository,
  store: string,
  backupId: string,
  { attempt, manifest }: Proposal,
): Promise<Decision> {
  const key = layout.decision(store, backupId);
  const bytes = sealed({ formatVersion: 1, store, backupId, attempt, manifest });
  try {
    await repository.put(key, bytes, { ifAbsent: true });
    return parseStored(repository, key, bytes, decisionSchema);
  } catch (error) {
    if (!hasCode(error, 'LockHeld')) throw error;
    return parseStored(repository, key, await repository.read(key), decisionSchema);
  }
}

/**
 * Settles for ever that the backup is not to be, also one that was committed: a commit that comes however late must not bring
 * a manifest back whose data are removed.
 */
export async function giveUp(repository: Repository, store: string, backupId: string): Promise<void> {
  const decision: Decision = { formatVersion: 1, store, backupId, attempt: null, manifest: null };
  await repository.put(layout.decision(store, backupId), sealed(decision));
}

/** Null while the backup is open. */
export async function decided(repository: Repository, store: string, backupId: string): Promise<Decision | null> {
  const key = layout.decision(store, backupId);
  try {
    return parseStored(repository, key, await repository.read(key), decisionSchema);
  } catch (error) {
    if (hasCode(error, 'NotFound')) return null;
    throw error;
  }
}

export function givenUp(store: string, backupId: string): Error {
  return failure('Aborted', `backup ${backupId} of ${store} was given up: its data were swept from the repository`, {
    data: 'No backup exists under this id; earlier backups are not affected.',
    next: 'Take a new backup: `drctl backup`. A workflow that was reset cannot bring this one back.',
    context: { store, backupId },
  });
}

/** Refuses to begin another attempt of a backup that exists, is being committed, or was given up. */
export async function requireOpen(repository: Repository, store: string, backupId: string): Promise<void> {
  const decision = await decided(repository, store, backupId);
  if (decision?.attempt === null) throw givenUp(store, backupId);
  // Manifests written before there were decisions have none.
  if (decision === null && (await repository.head(layout.manifest(store, backupId))) === null) return;
  throw failure('LockHeld', `backup ${backupId} of ${store} is committed in ${repository.location}`, {
    data: 'The committed backup was not touched.',
    next: 'Take a new backup: `drctl backup`. A workflow that was reset cannot write this one again.',
    context: { store, backupId, repository: repository.name },
  });
}
