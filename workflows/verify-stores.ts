import { CancellationScope, workflowInfo } from '@temporalio/workflow';
import type { StoreLook } from '../activities/verify';
import type { Application, StoreSummary } from '../core/application';
import { basicTime, countOf, formatBytes } from '../core/clock';
import { failure, findFailure, reasonOf } from '../core/errors';
import { backupIdIn } from '../core/layout';
import type { Proof, ProofResult } from '../core/proofs';
import type { ReadElsewhere } from '../core/reading';
import type { Finding } from '../core/verification';
import type { VerifiedStore, VerifyStoresInput, VerifyStoresResult } from '../core/verify-runs';
import { anywhere, reading, telling } from './proxies';
import { chooseInstant, targetAt } from './restorable-instant';
import { StepTable, wasCancelled } from './step-table';
import { thawChain } from './thaw-chain';
import { type RestoreTest, testRestore } from './verify/restore-test';
import { tellDamage } from './verify/tell-damage';

/** What one store's verification knows so far; the proof is made of it, however it ends. */
type Found = { -readonly [K in keyof Omit<Proof, 'proofId' | 'result' | 'at'>]: Proof[K] };

interface Verification extends VerifyStoresInput {
  readonly seed: number;
  readonly described: Application;
  /** Where restores are tried. */
  readonly atSite: string;
}

/**
 * Proves that what is stored is there (quick), is as it was written (full) or can be used (restore), store by store, one
 * after the other: it must not take from a real restore what that needs. Each store gets its proof in the repository, also
 * one that failed; people are told what is damaged.
 */
export async function verifyStores(input: VerifyStoresInput): Promise<VerifyStoresResult> {
  const { application, kind } = input;
  const steps = new StepTable('verify', application);
  const { application: described, activeSite } = await anywhere(application).describeApplication({ application });
  const atSite = input.site ?? described.sites.find((each) => each !== activeSite) ?? activeSite;
  // Any number will do, as long as it is recorded: the run's own id is one that a replay has too.
  const seed = input.seed ?? Number.parseInt(workflowInfo().runId.slice(-8), 16);
  steps.enter('verifying');
  const stores: VerifiedStore[] = [];
  for (const store of input.stores) stores.push(await verifyStore(steps, { ...input, seed, described, atSite }, store));
  if (input.tell) await tellDamage(steps, input, stores);
  steps.finish(stores.every(({ result }) => result === 'proven') ? 'proven' : 'completed with failures');
  return { application, kind, seed, stores };
}

async function verifyStore(steps: StepTable, input: Verification, store: string): Promise<VerifiedStore> {
  const { application, kind, requestedBy, described } = input;
  const { workflowId, runId } = workflowInfo();
  const startedAt = new Date().toISOString();
  const found: Found = {
    ...{ formatVersion: 1, application, store, kind, startedAt, requestedBy, workflowId, runId, seed: null },
    ...{ backups: [], looked: { backups: 0, objects: 0, logPieces: 0, readBytes: 0 }, findings: [], moreFindings: 0 },
    ...{ log: [], problem: null, restorable: [], restore: null },
  };
  try {
    const summary = described.stores.find(({ name }) => name === store);
    if (!summary) throw failure('NotFound', `${application} has no store "${store}"`);
    const seen = await look(steps, input, found);
    if (kind === 'full') await readCompletely(steps, input, found, seen);
    if (kind === 'restore') await restoreForProof(steps, input, summary, found);
  } catch (error) {
    if (wasCancelled(error)) {
      // Where it fails, retention keeps for a day and a half what nobody looks at any more.
      await CancellationScope.nonCancellable(() =>
        telling(application).endLooking({ application, store, ...copyOf(input) }),
      ).catch((failed: unknown) =>
        steps.say(`retention was not told that nobody looks at ${store}: ${reasonOf(failed)}`),
      );
      throw error;
    }
    found.problem = reasonOf(error);
    const key = findFailure(error)?.details.context?.['key'];
    const isNew = typeof key === 'string' && found.findings.every((each) => each.key !== key);
    if (isNew) found.findings = [...found.findings, metByRestore(store, key, found.problem)];
  }
  return keep(steps, input, found);
}

async function look(steps: StepTable, input: Verification, found: Found): Promise<StoreLook> {
  const { application, store } = found;
  const seen = await steps.run(
    `look:${store}`,
    `Look at what is stored of ${store}`,
    () => anywhere(application).lookAtStore({ application, store, ...copyOf(input) }),
    ({ count, findings, moreFindings }) =>
      `${countOf(count.backups, 'backup')}, ${countOf(count.logPieces, 'piece')} of log${foundText(findings, moreFindings)}`,
  );
  const { count: looked, findings, moreFindings, log, restorable } = seen;
  const { unnamed = 0 } = seen;
  Object.assign(found, { looked, findings, moreFindings: Math.max(moreFindings, unnamed), log, restorable });
  if (looked.backups === 0) found.problem = 'there is no backup that could be restored';
  return seen;
}

async function readCompletely(steps: StepTable, input: Verification, found: Found, seen: StoreLook): Promise<void> {
  const { backup, seed, thaw } = input;
  const { application, store } = found;
  const from = { application, store, ...copyOf(input) };
  let chain: readonly string[] | null = null;
  if (backup !== 'all') {
    const choice = backup ?? { seed };
    if (backup === undefined) found.seed = seed;
    const chosen = await steps.run(
      `choose:${store}`,
      backup === undefined ? `Choose a backup of ${store} by chance (seed ${seed})` : `Find the backup of ${store}`,
      () => anywhere(application).chooseBackup({ ...from, choice }),
      (choose) => (choose ? `${choose.chain.join(' + ')}${leftOut(choose.frozen)}` : 'there is none'),
    );
    if (chosen === null) return;
    ({ chain } = chosen);
    found.backups = chain;
    if (thaw) await thawChain(steps, anywhere(application), { application, store, chain, log: null, settings: null });
  }
  const known = found.findings;
  const { carried = [], unnamed = 0 } = seen;
  // What nobody has named is known to be sound when everything was read, and not before.
  const again = chain === null || unnamed === 0 ? carried : [];
  const read = await steps.run(
    `read:${store}`,
    chain === null ? `Read all that is stored of ${store}` : `Read it and its log completely`,
    () => reading(application).readStore({ ...from, chain, known, again }),
    ({ count, findings, moreFindings }) =>
      `${count.objects} objects, ${count.logPieces} pieces of log, ${formatBytes(count.readBytes)}${foundText(findings, moreFindings)}`,
  );
  found.looked = read.count;
  const { sound = [] } = read;
  found.findings = [...known.filter(({ key }) => !sound.includes(key)), ...read.findings];
  found.moreFindings = Math.max(seen.moreFindings + read.moreFindings, chain === null ? 0 : unnamed);
  found.restorable = read.restorable;
  const { frozen = 0 } = read.count;
  // Of all that is stored, what lies in the archive is counted and no more; of a backup that was named it was the question.
  if (frozen > 0 && chain !== null) {
    found.problem = `${countOf(frozen, 'object')} of it could not be read: they lie in an archive class (\`--thaw\` asks them back first)`;
  }
}

const leftOut = (frozen = 0) => (frozen === 0 ? '' : `; ${countOf(frozen, 'backup')} in the archive left out`);

async function restoreForProof(
  steps: StepTable,
  input: Verification,
  store: StoreSummary,
  found: Found,
): Promise<void> {
  const { application, atSite, described, thaw = false } = input;
  const { target, ...chosen } = await targetOf(steps, input, store);
  if (chosen.instant) found.seed = chosen.instant.seed;
  const { rtoSeconds } = described.objectives;
  const test = { application, store, site: atSite, target, ...chosen, rtoSeconds, thaw, ...copyOf(input) };
  const { restore, problem, elsewhere } = await testRestore(steps, test);
  const findings = [...found.findings, ...elsewhere.map((each) => readElsewhere(store.name, each))];
  Object.assign(found, { restore, problem, backups: restore.chain, findings });
}

/** What a person named; else what chance chooses of what can be restored. */
async function targetOf(
  steps: StepTable,
  input: Verification,
  { name: store, hasLog }: StoreSummary,
): Promise<Pick<RestoreTest, 'target' | 'instant'>> {
  const { application, backup, to, seed } = input;
  if (typeof backup === 'object') return { target: { kind: 'backup', backupId: backup.backupId } };
  if (to) return { target: to };
  if (!hasLog) return { target: { kind: 'latest' } };
  const instant = await chooseInstant(steps, { application, stores: [store], seed, ...copyOf(input) });
  return { target: targetAt(instant), instant };
}

const copyOf = ({ copy }: Pick<Verification, 'copy'>) => (copy === undefined ? {} : { copy });

function readElsewhere(store: string, { key, repository, problem, readFrom }: ReadElsewhere): Finding {
  const consequence = `nothing yet: the restore read it from ${readFrom}`;
  const backupId = key === null ? null : backupIdIn(key);
  return { store, backupId, key: key ?? repository, severity: 'damage', problem, consequence };
}

function metByRestore(store: string, key: string, problem: string): Finding {
  const consequence = 'the restore that needs it was refused';
  return { store, backupId: backupIdIn(key), key, severity: 'damage', problem, consequence };
}

/** Damage that a restore did without does not make it fail; it is told all the same. */
function resultOf({ kind, problem, findings }: Found): ProofResult {
  const isDamaged = findings.some(({ severity }) => severity === 'damage');
  return problem !== null || (kind !== 'restore' && isDamaged) ? 'failed' : 'proven';
}

async function keep(steps: StepTable, input: Verification, found: Found): Promise<VerifiedStore> {
  const { application, store, startedAt } = found;
  const at = `${new Date().toISOString().slice(0, 19)}.000Z`;
  const result = resultOf(found);
  const proofId = `${basicTime(at)}-${found.kind}-${result}-${found.runId.slice(-8)}`;
  let problem = found.problem;
  let isKept = true;
  try {
    await steps.run(
      `keep:${store}`,
      `Store the proof of ${store}`,
      () =>
        anywhere(application).keepProof({ application, proof: { ...found, proofId, result, at }, ...copyOf(input) }),
      () => `${result}: ${proofId}`,
    );
  } catch (error) {
    if (wasCancelled(error)) throw error;
    isKept = false;
    problem = [problem, `the proof could not be stored: ${reasonOf(error)}`].filter((each) => each !== null).join('; ');
  }
  const { backups, looked, findings, moreFindings, restorable, restore } = found;
  const seconds = (Date.now() - Date.parse(startedAt)) / 1_000;
  return {
    ...{ store, result: isKept ? result : 'failed', proofId: isKept ? proofId : null, backups, looked, findings },
    ...{ moreFindings, restorable, problem, restore, seconds },
  };
}

const foundText = (findings: readonly Finding[], more: number) => {
  const damaged = findings.filter(({ severity }) => severity === 'damage').length + more;
  return damaged === 0 ? '' : `; ${damaged} DAMAGED`;
};
