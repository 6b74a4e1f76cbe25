import { copiesOf } from '../config/copies';
import { countOf, formatBytes, formatDuration } from '../core/clock';
import { FAILURES } from '../core/failure-classes';
import type { ProofKind, RestoreProof } from '../core/proofs';
import type { RecoveryWindow } from '../core/recovery';
import { instantLine } from '../core/restorable-instant';
import { heartbeatLine } from '../core/restored-heartbeat';
import type { Finding, ObjectCount } from '../core/verification';
import type { VerifiedStore, VerifyStoresInput, VerifyStoresResult } from '../core/verify-runs';
import { workflowIds } from '../core/names';
import { checkLine } from '../core/restore-checks';
import { follow } from './follow';
import { backTo, newRunName, printDetached, startRun } from './runs';
import type { Session } from './session';
import { shortTime } from './table';

export interface VerifyRequest {
  readonly stores: readonly string[];
  readonly kind: ProofKind;
  readonly backup: VerifyStoresInput['backup'];
  readonly to: VerifyStoresInput['to'];
  readonly seed: number | undefined;
  readonly site: string | undefined;
  readonly thaw: boolean;
  readonly copy: string | undefined;
  readonly detach: boolean;
}

/** Verifies stores and shows what was found. Answers the exit code. */
export async function startVerify(
  session: Session,
  { stores, kind, backup, to, seed, site, thaw, copy, detach }: VerifyRequest,
): Promise<number> {
  const { application, io } = session;
  const input: VerifyStoresInput = {
    ...{ application, stores, kind, requestedBy: io.user, tell: detach },
    ...(backup === undefined ? {} : { backup }),
    ...(to === undefined ? {} : { to }),
    ...(seed === undefined ? {} : { seed }),
    ...(site === undefined ? {} : { site }),
    ...(thaw ? { thaw } : {}),
    ...(copy === undefined ? {} : { copy }),
  };
  const workflowId = workflowIds.verify(application, newRunName(io.now()));
  const where = copy === undefined ? '' : ` in ${copy}`;
  const summary = `${kind} verification of ${stores.join(', ')}${where} (${io.user})`;
  const handle = await startRun(session, { workflowId, type: 'verifyStores', input, summary });
  const back = backTo(workflowId);
  const copies = (store: string) => (copy === undefined ? copiesOf(session.config, store).map(({ name }) => name) : []);
  const lines = (result: VerifyStoresResult) => verifyResultLines(result, copies);
  if (!detach) return follow(session, handle, { back, lines, exitCode: exitCodeOf });
  printDetached(session, workflowId, back);
  return 0;
}

/** `copies`: the repositories besides the one that was looked at from which the store could be restored. */
export function verifyResultLines(
  { kind, stores }: VerifyStoresResult,
  copies: (store: string) => readonly string[] = () => [],
): string[] {
  return stores.flatMap((each) => {
    const { store, result, proofId, seconds } = each;
    return [
      '',
      `${store}: ${result === 'proven' ? 'proven' : 'FAILED'}  ${kind}, ${lookedText(kind, each.looked)} in ${formatDuration(seconds * 1_000)}`,
      ...foundLines(each),
      ...(hasDamage(each) && copies(store).length > 0
        ? [`  copies    a restore reads from ${copies(store).join(', ')} what is damaged here`]
        : []),
      ...(proofId === null ? [] : [`  proof     ${proofId}`]),
    ];
  });
}

export function lookedText(kind: ProofKind, { backups, objects, logPieces, readBytes, frozen }: ObjectCount): string {
  const what = `${countOf(backups, 'backup')}, ${countOf(objects, 'object')}, ${countOf(logPieces, 'piece')} of log`;
  const left = frozen ? `; ${countOf(frozen, 'object')} in an archive class NOT read` : '';
  return kind === 'full' ? `${what}, ${formatBytes(readBytes)} read${left}` : what;
}

type Found = Pick<VerifiedStore, 'problem' | 'findings' | 'moreFindings' | 'restorable' | 'restore'>;

const hasDamage = ({ findings }: Pick<Found, 'findings'>) => findings.some(({ severity }) => severity === 'damage');

/** What was found: the damaged objects by name, and what is left where something is damaged. */
export function foundLines({ problem, findings, moreFindings, restorable, restore }: Found): string[] {
  return [
    ...(restore === null ? [] : restoreLines(restore)),
    ...(problem === null ? [] : [`  problem   ${problem}`]),
    ...findings.flatMap(findingLines),
    ...(moreFindings > 0 ? [`  and ${moreFindings} more objects`] : []),
    ...(hasDamage({ findings }) || problem !== null ? restorableLines(restorable) : []),
  ];
}

function findingLines({ severity, backupId, key, problem, consequence, foundBy }: Finding): string[] {
  const of = backupId === null || key.includes(backupId) ? '' : ` (of ${backupId})`;
  return [
    `  ${severity === 'damage' ? 'DAMAGED ' : 'notice  '}  ${key}${of}`,
    `            ${problem}${foundBy === undefined ? '' : ` (found by ${foundBy})`}`,
    `            means: ${consequence}`,
  ];
}

function restoreLines({ chain, reachedTime, recoverySeconds, rtoSeconds, ...restore }: RestoreProof): string[] {
  const { lossSeconds, rpoSeconds, fingerprint, comparedWith, checks, instant, heartbeat } = restore;
  const seconds = (value: number) => formatDuration(value * 1_000);
  const entries = fingerprint.items.reduce((sum, { count }) => sum + count, 0);
  return [
    `  restored  ${chain.join(' + ')}${reachedTime === null ? '' : `, state of ${shortTime(reachedTime)}`}`,
    ...(instant ? [`  chosen    ${instantLine(instant)}`] : []),
    `  usable    after ${seconds(recoverySeconds)} (RTO ${seconds(rtoSeconds)})`,
    ...(lossSeconds === null
      ? []
      : [`  newest    ${seconds(lossSeconds)} old when it began (RPO ${seconds(rpoSeconds)})`]),
    `  read      ${fingerprint.items.length} items, ${entries} entries${comparedWith === null ? '' : `; equal to ${comparedWith}`}`,
    ...(heartbeat ? [`  heartbeat ${heartbeatLine(heartbeat)}`] : []),
    ...checks.map((each) => `  check     ${each.ok ? 'holds' : 'FAILED'}: ${checkLine(each)}`),
  ];
}

function restorableLines(windows: readonly RecoveryWindow[]): string[] {
  if (windows.length === 0) return ['  left      nothing of this store can be restored'];
  return windows.map(({ from, to }, index) => {
    const range = from === to ? shortTime(from) : `${shortTime(from)} to ${shortTime(to)}`;
    return `  ${index === 0 ? 'left    ' : '        '}  ${range} can be restored`;
  });
}

/** Damage is told by the code of damage, whatever else failed. */
function exitCodeOf({ stores }: VerifyStoresResult): number {
  const isDamaged = stores.some(({ findings }) => findings.some(({ severity }) => severity === 'damage'));
  if (isDamaged) return FAILURES.BackupCorrupt.exitCode;
  return stores.some(({ result }) => result === 'failed') ? FAILURES.VerificationFailed.exitCode : 0;
}
