import { ARTIFACT_KINDS, type Manifest } from '../../core/catalog';
import type { CallContext } from '../../core/call';
import { hasCode, reasonOf } from '../../core/errors';
import { isBackupId, layout } from '../../core/layout';
import type { Repository } from '../../core/repository';
import { type Finding, lostWith } from '../../core/verification';
import { createCatalog } from '../catalog/catalog';
import { decided } from '../catalog/decision';
import { recordKeyOf } from '../volumes/transfer';

/** A commit writes its decision and then the manifest: one whose process died between is tried again within this time. */
export const COMMIT_MILLISECONDS = 10 * 60_000;

const DECISIONS_AT_ONCE = 8;

export interface BackupsLook {
  readonly manifests: readonly Manifest[];
  readonly recovered: readonly Manifest[];
  readonly findings: readonly Finding[];
  readonly objects: number;
}

/** Every manifest read anew, every object that one names compared with the listings. */
export async function lookAtBackups(
  repository: Repository,
  store: string,
  commitMilliseconds: number,
  ctx: CallContext,
): Promise<BackupsLook> {
  const catalog = createCatalog(repository);
  // In this order: what a manifest names was stored before it.
  const manifests = await catalog.list(store);
  const unreadable = await catalog.damaged(store);
  ctx.progress({ phase: 'listing', doneItems: manifests.length });
  const sizes = await listed(repository, store, ctx);

  const known = new Set([...manifests, ...unreadable].map(({ backupId }) => backupId));
  const findings: Finding[] = unreadable.map(({ backupId, problem }) => ({
    ...{ store, backupId, key: layout.manifest(store, backupId), severity: 'damage', problem: brief(problem) },
    consequence: lostWith(backupId, manifests),
  }));
  const decisions = await readDecisions(repository, store, sizes, manifests, ctx);
  findings.push(...decisions.findings);
  const recovered = decisions.manifests.filter((each) => each.artifacts.every(({ key }) => sizes.has(key)));
  for (const { backupId, key, modifiedAt } of recovered.map((each) => ({ ...each, ...decisionOf(each, sizes) }))) {
    if (known.has(backupId) || Date.now() - modifiedAt < commitMilliseconds) continue;
    const missing = layout.manifest(store, backupId);
    if ((await repository.head(missing)) !== null) continue;
    known.add(backupId);
    const problem = `it is not there, though the backup was committed: ${key} still has its text`;
    const consequence = lostWith(backupId, manifests);
    findings.push({ store, backupId, key: missing, severity: 'damage', problem, consequence });
  }
  for (const { backupId, parent } of manifests) {
    if (parent === null || known.has(parent)) continue;
    known.add(parent);
    const problem = `it is not there, and ${backupId} is an incremental on it`;
    const consequence = lostWith(parent, manifests);
    const key = layout.manifest(store, parent);
    findings.push({ store, backupId: parent, key, severity: 'damage', problem, consequence });
  }
  for (const manifest of [...manifests, ...decisions.manifests]) {
    ctx.signal.throwIfAborted();
    if (!known.has(manifest.backupId)) continue;
    const wrong = wrongObjects(manifest, sizes, () => lostWith(manifest.backupId, manifests));
    if (wrong.length > 0) findings.push(...(await confirmed(repository, manifest, wrong)));
  }
  const lost = decisions.manifests.filter(({ backupId }) => known.has(backupId));
  return { manifests, recovered: lost, findings, objects: sizes.size };
}

/** Of a damaged manifest or record the whole difference says no more than its beginning. */
export function brief(problem: string): string {
  return problem.length <= 300 ? problem : `${problem.slice(0, 300)}…`;
}

interface Listed {
  readonly sizeBytes: number;
  readonly modifiedAt: string;
}

async function listed(repository: Repository, store: string, ctx: CallContext): Promise<Map<string, Listed>> {
  const found = new Map<string, Listed>();
  for (const prefix of [layout.manifests(store), ...ARTIFACT_KINDS.map((kind) => layout.storeData(kind, store))]) {
    for await (const { key, sizeBytes, modifiedAt } of repository.list(prefix)) {
      found.set(key, { sizeBytes, modifiedAt });
      if (found.size % 1_000 === 0) ctx.progress({ phase: 'listing', doneItems: found.size });
      ctx.signal.throwIfAborted();
    }
  }
  return found;
}

/**
 * The decisions about backups that have no manifest that can be read: each has its text, so that what belongs to the backup
 * is known all the same. Those that were given up, or are swept, have none.
 */
async function readDecisions(
  repository: Repository,
  store: string,
  sizes: ReadonlyMap<string, Listed>,
  readable: readonly Manifest[],
  ctx: CallContext,
): Promise<{ readonly manifests: readonly Manifest[]; readonly findings: readonly Finding[] }> {
  const known = new Set(readable.map(({ backupId }) => backupId));
  const manifests: Manifest[] = [];
  const findings: Finding[] = [];
  const read = async (backupId: string): Promise<void> => {
    try {
      const manifest = (await decided(repository, store, backupId))?.manifest;
      if (manifest) manifests.push(manifest);
    } catch (error) {
      if (!hasCode(error, 'BackupCorrupt')) throw error;
      const key = layout.decision(store, backupId);
      const consequence = 'nothing: a restore does without it';
      findings.push({ store, backupId, key, severity: 'notice', problem: brief(reasonOf(error)), consequence });
    }
  };
  const alone = [...sizes.keys()].flatMap((key) => {
    const backupId = /^catalog\/[^/]+\/([^/]+)\/decision\.json$/.exec(key)?.[1];
    return backupId !== undefined && isBackupId(backupId) && !known.has(backupId) ? [backupId] : [];
  });
  // Retention leaves one of each backup that it deleted: after years they are many.
  for (let at = 0; at < alone.length; at += DECISIONS_AT_ONCE) {
    ctx.signal.throwIfAborted();
    ctx.progress({ phase: 'reading decisions', doneItems: at, totalItems: alone.length });
    await Promise.all(alone.slice(at, at + DECISIONS_AT_ONCE).map(read));
  }
  return { manifests, findings };
}

function decisionOf({ store, backupId }: Manifest, sizes: ReadonlyMap<string, Listed>) {
  const key = layout.decision(store, backupId);
  return { key, modifiedAt: Date.parse(sizes.get(key)?.modifiedAt ?? '') };
}

/** By the listings alone. */
function wrongObjects(manifest: Manifest, sizes: ReadonlyMap<string, Listed>, lost: () => string): Finding[] {
  const { store, backupId, artifacts, early } = manifest;
  const wrong: Finding[] = [];
  for (const { key, sizeBytes } of [...artifacts, ...early]) {
    const found = sizes.get(key)?.sizeBytes;
    if (found === sizeBytes) continue;
    const problem = found === undefined ? 'it is not there' : `it has ${found} bytes, not ${sizeBytes}`;
    wrong.push({ store, backupId, key, severity: 'damage', problem, consequence: lost() });
  }
  for (const key of [layout.decision(store, backupId), recordKeyOf(manifest)]) {
    if (key === null || sizes.has(key)) continue;
    const needed = 'nothing: a restore does without it';
    wrong.push({ store, backupId, key, severity: 'notice', problem: 'it is not there', consequence: needed });
  }
  return wrong;
}

/** What a listing said a while ago may be of a backup that was removed since, as it should be. */
async function confirmed(repository: Repository, { store, backupId }: Manifest, wrong: Finding[]): Promise<Finding[]> {
  return (await repository.head(layout.manifest(store, backupId))) === null ? [] : wrong;
}
