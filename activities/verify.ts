import type { CallContext } from '../core/call';
import { chainOf, type Manifest, withWholeChains } from '../core/catalog';
import { failure } from '../core/errors';
import { layout } from '../core/layout';
import type { Proof } from '../core/proofs';
import { compareFingerprints, type Fingerprint, type RecoveryWindow } from '../core/recovery';
import {
  chooseBackup,
  type Finding,
  FINDINGS_KEPT,
  logOf,
  type LogStretch,
  lostWith,
  type ReadProgress,
  soundBackups,
  type StoredLook,
} from '../core/verification';
import { withCallContext } from './context';
import { atCopy } from './copies';
import type { ActivityDeps, OpenApplication } from './deps';
import { earlierProofs, stillStored } from './known-damage';
import { announceUse, requireNotSwept, withdrawUse } from './uses';

/** What a look tells, small enough for a history. */
export interface StoreLook extends Omit<StoredLook, 'manifests' | 'recovered'> {
  readonly moreFindings: number;
  readonly restorable: readonly RecoveryWindow[];
  /** Keys among the findings that are there by the word of earlier proofs alone: a listing does not tell what is in them. */
  readonly carried?: readonly string[];
  /** What earlier proofs found damaged without naming it. */
  readonly unnamed?: number;
}

/** `sound`: those of the keys that were to be read again that are as they were stored. */
export type StoreRead = Pick<ReadProgress, 'count' | 'findings' | 'moreFindings'> &
  Pick<StoreLook, 'restorable'> & { readonly sound?: readonly string[] };

/** Earlier restores that are looked through for one of the same state. */
const PROOFS_COMPARED = 30;

/**
 * Looks at what is stored; changes nothing but the proof that it keeps. Meanwhile retention takes away nothing of what is looked
 * at: what goes between a listing and a read would look like damage.
 */
export function createVerifyActivities(deps: ActivityDeps) {
  return {
    /**
     * Manifests, listings, and the continuity of the log, compared with what the newest proof saw of it. What earlier proofs
     * found damaged stays a finding for as long as it is stored, until somebody has read it again.
     */
    async lookAtStore(input: { application: string; store: string; copy?: string }): Promise<StoreLook> {
      return withCallContext(async (ctx) => {
        const { store } = input;
        const open = atCopy(deps.open(input.application), input.copy);
        await keepWhole(open, store, null, ctx);
        const earlier = await earlierProofs(open, store, await open.proofs(store).list(store));
        const { manifests, recovered, ...look } = await open.verifier(store).look(earlier.log, ctx);
        const carried = await stillStored(open, store, [...manifests, ...recovered], earlier.damage, look.findings);
        const findings = [...earlier.findings, ...look.findings, ...carried];
        const restorable = await restorableWithout(open, store, manifests, findings);
        findings.push(...unreached(store, soundBackups(manifests, findings), restorable));
        const kept = findings.slice(0, FINDINGS_KEPT);
        const moreFindings = findings.length - kept.length;
        const { unnamed } = earlier;
        const keys = carried.map(({ key }) => key);
        return { ...look, findings: kept, moreFindings, restorable, carried: keys, unnamed };
      });
    },

    /**
     * A backup by its id, or by chance among those that can be read at once; its chain, full first. Null where the store has
     * none; throws ObjectFrozen where all of them lie in archive classes. `frozen`: how many were left out for that.
     */
    async chooseBackup(input: {
      application: string;
      store: string;
      copy?: string;
      choice: { readonly backupId: string } | { readonly seed: number };
    }): Promise<{ readonly chosen: string; readonly chain: string[]; readonly frozen?: number } | null> {
      return withCallContext(async (ctx) => {
        const { store, choice } = input;
        const open = atCopy(deps.open(input.application), input.copy);
        const catalog = open.catalog(store);
        const manifests = await catalog.list(store);
        const atOnce = 'seed' in choice ? await readableAtOnce(open, store, manifests) : manifests;
        const frozen = manifests.length - atOnce.length;
        const chosen = 'seed' in choice ? chooseBackup(atOnce, choice.seed) : await catalog.get(store, choice.backupId);
        if (!chosen && frozen > 0) throw allFrozen(store, frozen);
        if (!chosen) return null;
        const chain = chainOf(chosen, manifests)?.map(({ backupId }) => backupId);
        if (!chain) {
          const missing = `a backup that ${chosen.backupId} is an incremental on is not there`;
          throw failure('BackupCorrupt', `${chosen.backupId} of ${store} cannot be restored: ${missing}`);
        }
        await keepWhole(open, store, chain, ctx);
        return { chosen: chosen.backupId, chain, ...(frozen > 0 ? { frozen } : {}) };
      });
    },

    /**
     * Reads a chain and the log behind it completely, or with null all that is stored; goes on where an earlier try was. `again`:
     * keys among the known findings that are read as well, wherever they belong.
     */
    async readStore(input: {
      application: string;
      store: string;
      copy?: string;
      chain: readonly string[] | null;
      known: readonly Finding[];
      again?: readonly string[];
    }): Promise<StoreRead> {
      return withCallContext<StoreRead, ReadProgress>(async (ctx, resume) => {
        const { store, chain, again = [] } = input;
        const open = atCopy(deps.open(input.application), input.copy);
        // What is read again may belong to any backup.
        await keepWhole(open, store, again.length > 0 ? null : chain, ctx);
        const verifier = open.verifier(store);
        const { manifests, recovered, ...look } = await verifier.look([], ctx);
        const backups =
          chain === null ? [...manifests, ...recovered] : manifests.filter(({ backupId }) => chain.includes(backupId));
        const log = chain === null ? await wholeLog(open, store) : logBehind(chain, manifests);
        const done = await verifier.read({ backups, log }, resume.state, (state) => resume.keep(state), ctx);
        const stored = [...manifests, ...recovered];
        const sound = again.length > 0 ? await verifier.readAgain(new Set(again), stored, ctx) : [];
        const known = input.known.filter(({ key }) => !sound.includes(key));
        const isNew = ({ key }: Finding) => known.every((each) => each.key !== key);
        const findings = [...unread(store, chain ?? [], manifests, look.findings), ...done.findings].filter(isNew);
        const restorable = await restorableWithout(open, store, manifests, [...known, ...findings]);
        return { count: done.count, findings, moreFindings: done.moreFindings, restorable, sound };
      });
    },

    /** Compares restored content with that of an earlier restore of the same state; null where there was none. */
    async compareWithEarlier(input: {
      application: string;
      store: string;
      copy?: string;
      restored: {
        readonly chain: readonly string[];
        readonly reached: string | null;
        readonly fingerprint: Fingerprint;
      };
    }): Promise<{ readonly proofId: string; readonly differences: readonly string[] } | null> {
      return withCallContext((ctx) =>
        comparedWithEarlier(atCopy(deps.open(input.application), input.copy), input.store, input.restored, ctx),
      );
    },

    /** Repeatable. Answers its key. */
    async keepProof(input: { application: string; copy?: string; proof: Proof }): Promise<string> {
      return withCallContext(async (ctx) => {
        const { store, proofId } = input.proof;
        const open = atCopy(deps.open(input.application), input.copy);
        await open.proofs(store).keep(input.proof);
        await withdrawUse(open, store, ctx);
        return layout.proof(store, proofId);
      });
    },

    /** Says that a verification of the store has ended without a proof. */
    async endLooking(input: { application: string; store: string; copy?: string }): Promise<void> {
      await withCallContext((ctx) => withdrawUse(atCopy(deps.open(input.application), input.copy), input.store, ctx));
    },
  };
}

/** A proof that asked S3 for what is years old, every day, would cost more than all the rest. */
export async function readableAtOnce(
  open: OpenApplication,
  store: string,
  manifests: readonly Manifest[],
): Promise<readonly Manifest[]> {
  const frozen = await open.coldStorage(store).frozenBackups();
  if (frozen.size === 0) return manifests;
  const whole = new Set(withWholeChains(manifests));
  const atOnce = new Set(withWholeChains(manifests.filter(({ backupId }) => !frozen.has(backupId))));
  return manifests.filter((each) => atOnce.has(each) || !whole.has(each));
}

function allFrozen(store: string, backups: number): Error {
  return failure('ObjectFrozen', `nothing of ${store} was read: all ${backups} of its backups lie in archive classes`, {
    next: 'Take a backup now, and see `drctl lifecycle plan`; one of these is read with `drctl verify --backup … --thaw`.',
  });
}

/** A chain with the log, or with null everything, until the proof is kept. */
async function keepWhole(
  open: OpenApplication,
  store: string,
  chain: readonly string[] | null,
  ctx: CallContext,
): Promise<void> {
  await announceUse(open, store, { kind: chain === null ? 'proof' : 'restore', backups: chain ?? [] }, ctx);
  await requireNotSwept(open, store, chain ?? [], open.catalog(store), ctx);
}

/** Backups that were chosen and whose manifest cannot be read by now: what they hold is not read either, and proven by nothing. */
function unread(
  store: string,
  chain: readonly string[],
  manifests: readonly Manifest[],
  found: readonly Finding[],
): Finding[] {
  return chain
    .filter((id) => manifests.every(({ backupId }) => backupId !== id))
    .map((backupId): Finding => {
      const key = layout.manifest(store, backupId);
      const problem = 'it is not there any more';
      const gone = { store, backupId, key, problem, consequence: lostWith(backupId, manifests) };
      return found.find((each) => each.key === key) ?? { ...gone, severity: 'damage' };
    });
}

/** The windows of what is not damaged. */
async function restorableWithout(
  open: OpenApplication,
  store: string,
  manifests: readonly Manifest[],
  findings: readonly Finding[],
): Promise<RecoveryWindow[]> {
  const damaged = findings.filter(({ severity }) => severity === 'damage').map(({ key }) => key);
  const backups = soundBackups(manifests, findings);
  return open.engine(store).windows({ backups, log: open.verifier(store).logWithout(new Set(damaged)) });
}

/** Backups of which all is there, and that still cannot be made consistent: their log is not. */
function unreached(store: string, sound: readonly Manifest[], windows: readonly RecoveryWindow[]): Finding[] {
  const isReached = ({ consistentAt }: Manifest) =>
    windows.some(
      ({ from, to }) => Date.parse(from) <= Date.parse(consistentAt) && Date.parse(consistentAt) <= Date.parse(to),
    );
  return sound
    .filter((each) => !isReached(each))
    .map(({ backupId }) => ({
      ...{ store, backupId, key: layout.manifest(store, backupId), severity: 'damage' },
      problem: 'the log that it needs to become consistent is not stored',
      consequence: `${backupId} cannot be restored`,
    }));
}

function logBehind(chain: readonly string[], manifests: readonly Manifest[]): LogStretch[] {
  const chosen = manifests.find(({ backupId }) => backupId === chain.at(-1));
  const stretch = chosen ? logOf(chosen, manifests) : null;
  return stretch ? [stretch] : [];
}

async function wholeLog(open: OpenApplication, store: string): Promise<LogStretch[]> {
  const lineages = (await open.verifier(store).logWithout(new Set())?.lineages()) ?? [];
  return lineages.map((lineage) => ({ lineage, from: null, to: null }));
}

async function comparedWithEarlier(
  open: OpenApplication,
  store: string,
  restored: { readonly chain: readonly string[]; readonly reached: string | null; readonly fingerprint: Fingerprint },
  ctx: CallContext,
): Promise<{ readonly proofId: string; readonly differences: readonly string[] } | null> {
  if (open.engine(store).contentAges || restored.reached === null) return null;
  const proofs = open.proofs(store);
  const restores = (await proofs.list(store)).filter(({ kind, result }) => kind === 'restore' && result === 'proven');
  for (const { proofId } of restores.slice(0, PROOFS_COMPARED)) {
    ctx.signal.throwIfAborted();
    const { restore } = await proofs.get(store, proofId);
    if (restore === null || restore.chain.join() !== restored.chain.join()) continue;
    if ((restore.reachedPosition ?? restore.reachedTime) !== restored.reached) continue;
    const differences = compareFingerprints(restore.fingerprint, restored.fingerprint);
    return {
      proofId,
      differences: differences.map(({ name, expected, found }) => `${name}: ${found}, it was ${expected}`),
    };
  }
  return null;
}
