import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../core/call';
import { chainOf, type Manifest } from '../core/catalog';
import type { DumpPlan, DumpRequest, LogShipping } from '../core/engine';
import { hasCode, reasonOf } from '../core/errors';
import { chooseBase, firstBehindGap, planSealed } from '../core/sealed-log';
import type { BackupTransfer } from '../core/transfer';
import type { OpenApplication } from './deps';
import { POLL_MILLISECONDS, RESTORABLE_LOOKS } from './log-position';

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
  const full = () => {
    const backupId = request.backupId.replace('-incr-', '-full-');
    return engine.planDump({ ...request, backupId, type: 'full' }, ctx);
  };
  const planned =
    request.type === 'incr' && engine.log?.end
      ? await planOnLog(open, request, store, engine.log, ctx)
      : await engine.planDump(request, ctx);
  if ('why' in planned) return insteadOfIncremental(await full(), planned.why);
  const parent = request.existing.find(({ backupId }) => backupId === planned.parent);
  const why = parent ? await whyUnsound(open.transfer(store), parent, request.existing) : null;
  return why === null ? planned : insteadOfIncremental(await full(), why);
}

/** The plan of a full with the reason why it is none of an incremental. */
export function insteadOfIncremental(full: DumpPlan, why: string): DumpPlan {
  const reasons = [`incremental asked, full taken: ${why}`, full.typeReason].filter((each) => each !== null);
  return { ...full, typeReason: reasons.join('; ') };
}

/** Of an engine whose log is its incremental: on the newest full, where the archived log leads on from it without a gap. */
async function planOnLog(
  open: OpenApplication,
  request: DumpRequest,
  store: string,
  log: LogShipping,
  ctx: CallContext,
): Promise<DumpPlan | { readonly why: string }> {
  const archive = open.logArchive(store);
  const now = archive && (await log.end?.(request.site, ctx));
  if (!now) return { why: `no log of ${store} is archived` };
  const choice = chooseBase(request.existing, now, log.naming);
  if ('why' in choice) return choice;
  for (let look = 1; ; look += 1) {
    const gap = firstBehindGap(await archive.entries(now.position.lineage), choice.base, log.naming);
    if (gap === null) return planSealed(request, choice.base, now);
    const { backupId } = choice.base;
    if (look >= RESTORABLE_LOOKS)
      return { why: `the archived log has a gap between ${backupId} and ${gap.from.value}` };
    await sleep(POLL_MILLISECONDS, undefined, { signal: ctx.signal });
  }
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
