import type { CallContext } from '../core/call';
import { chainOf, type Manifest } from '../core/catalog';
import type { DumpPlan, DumpRequest } from '../core/engine';
import { hasCode, reasonOf } from '../core/errors';
import type { BackupTransfer } from '../core/transfer';
import type { OpenApplication } from './deps';

/**
 * The engine's plan, where the backups that it builds on can be read: of an incremental to what is missing or damaged nothing
 * could ever be restored, so that a full is planned instead, and says why.
 */
export async function planSound(
  open: OpenApplication,
  request: DumpRequest,
  store: string,
  ctx: CallContext,
): Promise<DumpPlan> {
  const engine = open.engine(store);
  const plan = await engine.planDump(request, ctx);
  const parent = request.existing.find(({ backupId }) => backupId === plan.parent);
  const why = parent ? await whyUnsound(open.transfer(store), parent, request.existing) : null;
  if (why === null) return plan;
  const backupId = request.backupId.replace('-incr-', '-full-');
  return insteadOfIncremental(await engine.planDump({ ...request, backupId, type: 'full' }, ctx), why);
}

/** The plan of a full with the reason why it is none of an incremental. */
export function insteadOfIncremental(full: DumpPlan, why: string): DumpPlan {
  const reasons = [`incremental asked, full taken: ${why}`, full.typeReason].filter((each) => each !== null);
  return { ...full, typeReason: reasons.join('; ') };
}

/** Every object of the chain is looked for; the bytes that the dump itself needs of the parent are read. */
async function whyUnsound(
  transfer: BackupTransfer,
  parent: Manifest,
  existing: readonly Manifest[],
): Promise<string | null> {
  for (const member of chainOf(parent, existing) ?? []) {
    const why = await transfer.whyIncomplete(member);
    if (why !== null) return `${member.backupId} is damaged: ${why}`;
  }
  try {
    for (const { name } of parent.early) await transfer.source([parent]).early(parent.backupId, name);
    return null;
  } catch (error) {
    if (!hasCode(error, 'BackupCorrupt')) throw error;
    return `${parent.backupId} is damaged: ${reasonOf(error)}`;
  }
}
