import type { Manifest } from '../core/catalog';
import type { DamagedManifest } from '../core/catalog-store';
import { findFailure, hasCode } from '../core/errors';
import { layout } from '../core/layout';
import type { Proof, ProofSummary } from '../core/proofs';
import type { Finding, LogRange } from '../core/verification';
import type { OpenApplication } from './deps';

/** What earlier verifications of a store saw, for the next one and for whoever watches. */
export interface EarlierProofs {
  /** Where the newest look saw each lineage of the log begin and end. */
  readonly log: readonly LogRange[];
  /** What they found damaged. Each takes over from those before it what it has not found sound itself, so that the newest has all. */
  readonly damage: readonly Finding[];
  /** What they found damaged besides, too much of it to be named. */
  readonly unnamed: number;
  /** Proofs that cannot be read themselves. */
  readonly findings: readonly Finding[];
}

/** So many of them are gone through for one whose look came to its end. */
const PROOFS_READ = 30;
/** The times of proofs are whole seconds. */
const TICK_MILLISECONDS = 1_000;

/** `listed`: newest first. Reads the newest proof whose look came to its end, and those that ended while it ran: it knew nothing of them. */
export async function earlierProofs(
  open: OpenApplication,
  store: string,
  listed: readonly ProofSummary[],
): Promise<EarlierProofs> {
  const damage = new Map<string, Finding>();
  const findings: Finding[] = [];
  let base: Proof | null = null;
  for (const { proofId, at } of listed.slice(0, PROOFS_READ)) {
    if (base && Date.parse(at) + TICK_MILLISECONDS <= Date.parse(base.startedAt)) break;
    const proof = await readable(open, store, proofId, findings);
    if (!proof) continue;
    for (const found of proof.findings) {
      if (found.severity === 'damage' && !damage.has(found.key)) damage.set(found.key, { foundBy: proofId, ...found });
    }
    if (!base && hasLooked(proof)) base = proof;
  }
  return { log: base?.log ?? [], damage: [...damage.values()], unnamed: base?.moreFindings ?? 0, findings };
}

/** A look that did not come to its end saw nothing. */
const hasLooked = ({ looked, log, problem }: Proof) => looked.objects > 0 || log.length > 0 || problem === null;

async function readable(
  open: OpenApplication,
  store: string,
  proofId: string,
  findings: Finding[],
): Promise<Proof | null> {
  try {
    return await open.proofs(store).get(store, proofId);
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    const problem = findFailure(error)?.message ?? '';
    const consequence = 'nothing: it is the record of an earlier verification';
    const key = layout.proof(store, proofId);
    findings.push({ store, backupId: null, key, severity: 'damage', problem, consequence });
    return null;
  }
}

/**
 * Those that the look itself says nothing of, and that are there: what a listing cannot tell is what is in an object. Manifests,
 * files beside them and what is missing are judged anew by each look.
 */
export async function stillStored(
  open: OpenApplication,
  store: string,
  backups: readonly Manifest[],
  damage: readonly Finding[],
  seen: readonly Finding[],
): Promise<Finding[]> {
  const unseen = damage.filter(({ key }) => seen.every((each) => each.key !== key));
  if (unseen.length === 0) return [];
  const owners = new Map(
    backups.flatMap(({ backupId, artifacts, early }) =>
      [...artifacts, ...early].map(({ key }) => [key, backupId] as const),
    ),
  );
  const log = open.verifier(store).logWithout(new Set());
  const pieces = new Set<string>();
  for (const lineage of (await log?.lineages()) ?? []) {
    for (const { key } of (await log?.entries(lineage)) ?? []) pieces.add(key);
  }
  return unseen
    .filter(({ key }) => owners.has(key) || pieces.has(key))
    .map((each) => ({ ...each, backupId: owners.get(each.key) ?? null }));
}

/** What verifications found damaged and none found sound since. */
export interface KnownDamage {
  /** As far as retention has not deleted them. */
  readonly backups: readonly DamagedManifest[];
  /** Keys of pieces of the log. */
  readonly log: readonly string[];
}

export async function knownDamage(
  open: OpenApplication,
  store: string,
  listed: readonly ProofSummary[],
): Promise<KnownDamage> {
  const { damage } = await earlierProofs(open, store, listed);
  const log = damage.flatMap(({ backupId, key }) => (backupId === null && isOfLog(store, key) ? [key] : []));
  return { backups: await damagedBackups(open, store, damage), log };
}

const isOfLog = (store: string, key: string) => key.startsWith(layout.logs(store));

async function damagedBackups(
  open: OpenApplication,
  store: string,
  damage: readonly Finding[],
): Promise<DamagedManifest[]> {
  const ofBackups = Map.groupBy(damage, ({ backupId }) => backupId);
  ofBackups.delete(null);
  const found: DamagedManifest[] = [];
  for (const [backupId, [first, ...others]] of ofBackups) {
    if (backupId === null || !first || (await isDeleted(open, store, backupId))) continue;
    const more = others.length > 0 ? `, as ${others.length} more of its objects` : '';
    const what = first.problem.includes(first.key) ? first.problem : `${first.key}: ${first.problem}`;
    found.push({ store, backupId, problem: `${what} (found by ${first.foundBy}${more})` });
  }
  return found;
}

/** By retention. One whose manifest is lost is not: its commit noted it beside. */
async function isDeleted(open: OpenApplication, store: string, backupId: string): Promise<boolean> {
  try {
    await open.catalog(store).get(store, backupId);
    return false;
  } catch (error) {
    // One that is there and cannot be read is not deleted.
    if (hasCode(error, 'BackupCorrupt') || hasCode(error, 'ConfigInvalid')) return false;
    if (!hasCode(error, 'NotFound')) throw error;
    return (await open.retentionStore(store).notedManifest(backupId)) === null;
  }
}
