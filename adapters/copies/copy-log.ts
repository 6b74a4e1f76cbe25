import type { CallContext } from '../../core/call';
import { hasCode, reasonOf } from '../../core/errors';
import { layout } from '../../core/layout';
import type { LogNaming } from '../../core/log-archive';
import type { NotCopied } from '../../core/copies';
import type { StoredObject } from '../../core/repository';
import type { ObjectCipher } from '../encryption/encrypted-object';
import { createLogArchive } from '../repository/log-archive';
import { LogListing } from '../repository/log-listing';
import { allOf } from './copy-backup';
import { copyPiece, type Route } from './copy-objects';

/** What a stored piece of log ends with; see adapters/repository/log-archive.ts. */
const SUFFIX = '.zst';

/** Small pieces cost round trips, which pass beside each other; large ones memory, and are taken one by one. */
const AT_ONCE = 8;
const SMALL_BYTES = 2 ** 20;
/** A heartbeat with a new cursor after so many. */
const BATCH = 64;

export interface LogCopy extends Route {
  readonly store: string;
  readonly naming: LogNaming;
  readonly cipher: ObjectCipher | null;
}

export interface CopiedPieces {
  readonly lineage: string;
  /** Everything of the lineage up to this key is copied. */
  readonly upTo: string;
  readonly objects: number;
  readonly sizeBytes: number;
}

export interface LogRequest {
  /** By lineage, the key up to which nothing changes any more, as an earlier run found. */
  readonly settled: (lineage: string) => string;
  /** By lineage, the key behind which to begin: that one, or where a try that died had come to. */
  readonly after: (lineage: string) => string;
  readonly copied: (pieces: CopiedPieces) => void;
  readonly notCopied: (what: NotCopied) => void;
}

/**
 * The log of a store, lineage by lineage in order: both sides are listed beside each other, what the copy lacks is copied.
 * Answers by lineage the key up to which nothing changes any more: that of the newest segment, because slices become segments
 * that begin where the first of them does.
 */
export async function copyLog(copy: LogCopy, request: LogRequest, ctx: CallContext): Promise<Record<string, string>> {
  const { from, store } = copy;
  const settled: Record<string, string> = {};
  const lineages = await new LogListing(from, layout.logs(store)).folders();
  for (const lineage of lineages.toSorted()) settled[lineage] = await copyLineage(copy, lineage, request, ctx);
  return Object.fromEntries(Object.entries(settled).filter(([, key]) => key !== ''));
}

async function copyLineage(copy: LogCopy, lineage: string, request: LogRequest, ctx: CallContext): Promise<string> {
  const { from, to, store, naming } = copy;
  const folder = layout.log(store, lineage);
  const kindOf = (key: string) =>
    key.endsWith(SUFFIX) ? naming.read(lineage, key.slice(folder.length, -SUFFIX.length))?.kind : undefined;
  const after = request.after(lineage);
  const options = after === '' ? {} : { after };
  let [settled, segments] = [request.settled(lineage), 0];
  let batch: Missing[] = [];
  const flush = async () => {
    const sizeBytes = await copyBatch(copy, batch, request, ctx);
    segments += batch.filter(({ object }) => kindOf(object.key) === 'segment').length;
    const upTo = batch.at(-1)?.object.key;
    if (upTo !== undefined) request.copied({ lineage, upTo, objects: batch.length, sizeBytes });
    batch = [];
  };
  for await (const each of besides(from.list(folder, options), to.list(folder, options))) {
    const kind = kindOf(each.object.key);
    if (kind === 'segment') settled = each.object.key;
    // What no archiver wrote is left alone.
    if (kind === undefined || each.there?.sizeBytes === each.object.sizeBytes) continue;
    batch.push(each);
    if (batch.length === BATCH) await flush();
  }
  await flush();
  if (segments > 0) await removeReplaced(copy, lineage, request);
  return settled;
}

interface Missing {
  readonly object: StoredObject;
  /** What the copy has under that name. */
  readonly there: StoredObject | null;
}

/** Each object of the first listing with what the second has under its key; both are of one folder, in key order. */
async function* besides(
  first: AsyncIterable<StoredObject>,
  second: AsyncIterable<StoredObject>,
): AsyncGenerator<Missing, void> {
  const others = second[Symbol.asyncIterator]();
  try {
    let other = await others.next();
    for await (const object of first) {
      while (!other.done && other.value.key < object.key) other = await others.next();
      yield { object, there: !other.done && other.value.key === object.key ? other.value : null };
    }
  } finally {
    await others.return?.();
  }
}

async function copyBatch(
  copy: LogCopy,
  batch: readonly Missing[],
  { notCopied }: LogRequest,
  ctx: CallContext,
): Promise<number> {
  let sizeBytes = 0;
  const one = async ({ object, there }: Missing) => {
    ctx.signal.throwIfAborted();
    try {
      sizeBytes += (await copyPiece(copy, object, there !== null)) ?? 0;
      ctx.progress({ phase: 'copying the log', note: object.key });
    } catch (error) {
      if (!hasCode(error, 'BackupCorrupt')) throw error;
      notCopied({ key: object.key, problem: reasonOf(error) });
    }
  };
  const small = batch.filter(({ object }) => object.sizeBytes <= SMALL_BYTES);
  const lane = async () => {
    for (let next = small.shift(); next; next = small.shift()) await one(next);
  };
  for (const each of batch) if (each.object.sizeBytes > SMALL_BYTES) await one(each);
  await allOf(Array.from({ length: AT_ONCE }, lane));
  return sizeBytes;
}

/** Slices of the copy that a segment of the copy holds, once that was read back: as an archiver does with its own. */
async function removeReplaced(copy: LogCopy, lineage: string, { notCopied }: LogRequest): Promise<void> {
  const { to, store, naming, cipher } = copy;
  const archive = createLogArchive(to, store, naming, cipher);
  for (const { segment, slices } of await archive.replaced(lineage)) {
    try {
      await archive.replace(slices, segment);
    } catch (error) {
      if (!hasCode(error, 'BackupCorrupt')) throw error;
      notCopied({ key: segment.key, problem: reasonOf(error) });
    }
  }
}
