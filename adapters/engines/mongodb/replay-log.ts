import type { MongoClient } from 'mongodb';
import type { CallContext } from '../../../core/call';
import type { RestoreRequest } from '../../../core/engine';
import { failure } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import type { Manifest } from '../../../core/catalog';
import type { RestorePlan } from '../../../core/recovery';
import { documentsIn } from './bson-bytes';
import { ByteReader, chunksOf } from './document-stream';
import { logFeed } from './log-feed';
import { narrow } from './narrow';
import { openTransactionsIn } from './open-transactions';
import { OplogApplier } from './oplog-applier';
import { readEntry } from './oplog';
import { compareOptimes, type Optime, optimeOf } from './positions';
import { SelectedPart } from './selection';
import { WireConnection } from './wire';

/** Applies the archived log up to the plan's target, then builds the indexes of that point. Returns the last optime applied. */
export async function replayLog(
  client: MongoClient,
  { plan, chain, place }: RestoreRequest,
  address: { readonly host: string; readonly port: number },
  log: LogArchive | null,
  ctx: CallContext,
): Promise<Optime> {
  const [manifest] = chain;
  if (!manifest?.stop) throw failure('BackupCorrupt', `backup ${manifest?.backupId} names no position`);
  const wire = await WireConnection.open(address, ctx.signal);
  const applier = new OplogApplier(client, wire, openTransactionsIn(place.directory), {
    fuzzy: false,
    part: new SelectedPart(plan),
  });
  try {
    let reached = (await applier.resume()) ?? optimeOf(manifest.stop);
    if (plan.log && log) reached = await applyLog(applier, plan, manifest, log, reached, ctx);
    await applier.flush();
    await narrow(client, applier.indexes, plan);
    await applier.indexes.build(ctx);
    return reached;
  } finally {
    wire.close();
  }
}

async function applyLog(
  applier: OplogApplier,
  plan: RestorePlan,
  manifest: Manifest,
  log: LogArchive,
  from: Optime,
  ctx: CallContext,
): Promise<Optime> {
  const until = plan.log?.to ? optimeOf(plan.log.to) : null;
  const untilTime = until ? null : Date.parse(plan.reaches.time);
  let [reached, past] = [from, false];
  for await (const { entry: piece, content } of logFeed(log, manifest, () => reached, until, ctx)) {
    const reader = new ByteReader(chunksOf(content), piece.key);
    let isFirst = true;
    for (let documents = await reader.documents(); documents && !past; documents = await reader.documents()) {
      for (const bytes of documentsIn(documents)) {
        const entry = readEntry(bytes);
        if (isFirst && compareOptimes(entry.optime, reached) > 0) throw gapBefore(entry.optime, reached, piece.key);
        isFirst = false;
        past = until
          ? compareOptimes(entry.optime, until) > 0
          : untilTime !== null && compareOptimes(entry.optime, reached) > 0 && entry.wall > untilTime;
        if (past) break;
        await applier.apply(entry);
        if (compareOptimes(entry.optime, reached) > 0) reached = entry.optime;
      }
      ctx.signal.throwIfAborted();
      ctx.progress({ phase: 'replaying the oplog', doneItems: applier.applied, note: piece.name });
    }
    if (past) break;
  }
  const short = until
    ? compareOptimes(reached, until) < 0
    : !past && untilTime !== null && untilTime > Date.parse(manifest.consistentAt);
  if (!short) return reached;
  throw failure(
    'LogGap',
    `the archived oplog ends at ${reached.seconds}:${reached.increment}, before the target ${plan.reaches.time}`,
  );
}

/** Each slice begins with an entry that is applied already, whatever its name says. */
function gapBefore(found: Optime, reached: Optime, key: string) {
  const [first, last] = [found, reached].map(({ seconds, increment }) => `${seconds}:${increment}`);
  return failure('LogGap', `${key} begins with entry ${first}, and the log before it ended at ${last}`);
}
