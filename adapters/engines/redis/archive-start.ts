import { setTimeout as delay } from 'node:timers/promises';
import type Redis from 'ioredis';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import { addressOf, type RedisEndpoint } from './connection';
import { CommandScanner } from './command-scanner';
import { readInfo, type RedisInfo } from './info';
import { describeLineage, type LineageDescription, readLineage } from './lineage';
import { readPieceName } from './positions';
import { refusal, requireOk, type ReplicaLink, withReplicaLink } from './replica-link';
import type { StreamTail } from './slice-collector';
import { hasOneDatabase, markDatabases } from './stream-marks';

/** Where archiving goes on; with a gap where nothing that is archived leads up to it. */
export interface ArchiveStart {
  readonly tail: StreamTail;
  readonly gap: string | null;
}

/** What a primary says of its stream. */
interface StreamState {
  readonly id: string;
  readonly end: number;
  /** The first offset that it can still send from; null where it keeps no stream. */
  readonly first: number | null;
  /** The id that it continues, and up to where their streams are one. */
  readonly before: { readonly id: string; readonly leftAt: number } | null;
}

/**
 * Where archiving goes on, by what is stored and by what the primary still has. A promoted replica has another id and goes
 * on where it left the one before: that is no gap, and is noted before anything is stored of it. Throws LogGap for a server
 * that has less of a stream than is archived of it.
 */
export async function findStart(
  client: Redis,
  endpoint: RedisEndpoint,
  archive: LogArchive,
  ctx: CallContext,
): Promise<ArchiveStart> {
  const state = await streamState(client, endpoint, ctx);
  const history = await archive.history();
  const own = readLineage(history, state.id);
  const described = own === 'damaged' ? null : own;
  const tail = await newestTail(archive, state.id, described);
  if (tail) return goOn(client, endpoint, archive, { tail, described, state }, ctx);
  if (state.before) {
    const inherited = await tailBefore(archive, history, state.before, state.first ?? Infinity);
    if (inherited) {
      const parent = { lineage: state.before.id, leftAt: inherited.offset };
      const { offset, database } = inherited;
      const beganAt = new Date().toISOString();
      const about = { lineage: state.id, beganAt, from: offset, database, why: 'a promotion', isGap: false, parent };
      await describeLineage(archive, about);
      return { tail: { ...inherited, lineage: state.id }, gap: null };
    }
  }
  const known = await archive.lineages();
  if (known.length === 0) return begin(client, endpoint, archive, state.id, null, ctx);
  return begin(
    client,
    endpoint,
    archive,
    state.id,
    `${addressOf(endpoint)} has begun the stream ${state.id} anew`,
    ctx,
  );
}

async function goOn(
  client: Redis,
  endpoint: RedisEndpoint,
  archive: LogArchive,
  found: { readonly tail: StreamTail; readonly described: LineageDescription | null; readonly state: StreamState },
  ctx: CallContext,
): Promise<ArchiveStart> {
  const { tail, described, state } = found;
  if (tail.offset > state.end) {
    throw failure(
      'LogGap',
      `Redis at ${addressOf(endpoint)} has written ${state.end} bytes of the stream ${state.id}, of which ${tail.offset} are archived`,
    );
  }
  if (state.first !== null && tail.offset >= state.first) {
    // Told of until something is stored behind it: whoever found it may have died before it could tell.
    const isUntold = described?.isGap === true && described.from === tail.offset;
    return { tail, gap: isUntold ? described.why : null };
  }
  const why = `${addressOf(endpoint)} has dropped the stream ${state.id} behind ${tail.offset}, up to which it is archived`;
  return begin(client, endpoint, archive, state.id, why, ctx, described?.parent ?? null);
}

/** What is stored of a lineage, or where it was begun if that lies behind. */
async function newestTail(
  archive: LogArchive,
  lineage: string,
  described: LineageDescription | null,
): Promise<StreamTail | null> {
  const stored = await wholeEnds(archive, lineage);
  const end = stored.at(-1) ?? null;
  if (!described || (end && end.offset >= described.from)) return end;
  return { lineage, offset: described.from, database: described.database, coversUntil: null };
}

/** The places at which a stored piece ends between two commands, in order. */
async function wholeEnds(archive: LogArchive, lineage: string): Promise<StreamTail[]> {
  const ends = (await archive.entries(lineage)).flatMap(({ name }) => {
    const piece = readPieceName(name);
    if (!piece || piece.database === null) return [];
    return [{ lineage, offset: piece.to, database: piece.database, coversUntil: piece.coversUntil }];
  });
  return ends.toSorted((a, b) => a.offset - b.offset);
}

/**
 * The newest place in what is stored of the id before at which both streams are still one and from which the primary can
 * send. The archive may have more: what the promoted replica had not got is no part of the new stream.
 */
async function tailBefore(
  archive: LogArchive,
  history: ReadonlyMap<string, Buffer | Error>,
  before: { readonly id: string; readonly leftAt: number },
  first: number,
): Promise<StreamTail | null> {
  const described = readLineage(history, before.id);
  const begun =
    described && described !== 'damaged' && !described.isGap
      ? [{ lineage: before.id, offset: described.from, database: described.database, coversUntil: null }]
      : [];
  const ends = [...begun, ...(await wholeEnds(archive, before.id))];
  const tail = ends.findLast(({ offset }) => offset <= before.leftAt) ?? null;
  return tail && tail.offset >= first ? tail : null;
}

/** Begins at a place where the stream says which database is selected, and describes the lineage. `why` null: nothing is missing. */
async function begin(
  client: Redis,
  endpoint: RedisEndpoint,
  archive: LogArchive,
  lineage: string,
  why: string | null,
  ctx: CallContext,
  parent: LineageDescription['parent'] = null,
): Promise<ArchiveStart> {
  const { end } = await streamState(client, endpoint, ctx);
  const start = (await hasOneDatabase(client))
    ? { offset: end, database: 0 }
    : await withReplicaLink(endpoint, ctx, async (link) => {
        await resumeStream(link, { lineage, offset: end });
        await markDatabases(client);
        return firstSelection(link, end);
      });
  const about = { lineage, beganAt: new Date().toISOString(), from: start.offset, database: start.database };
  await describeLineage(archive, {
    ...about,
    why: why ?? 'the first one that is archived',
    isGap: why !== null,
    parent,
  });
  return { tail: { lineage, ...start, coversUntil: null }, gap: why };
}

/** Reads on to the first place between two commands at which it is known which database is selected. */
async function firstSelection(link: ReplicaLink, from: number): Promise<{ offset: number; database: number }> {
  const scanner = new CommandScanner(from);
  const found: { offset: number; database: number }[] = [];
  let [database, inTransaction]: [number | null, boolean] = [null, false];
  while (found.length === 0) {
    scanner.feed(await link.reader.chunk(), ({ name, words, to }) => {
      if (name === 'SELECT') database = Number(words[1]);
      inTransaction = name === 'MULTI' || (inTransaction && name !== 'EXEC');
      if (database !== null && !inTransaction) found.push({ offset: to, database });
    });
  }
  return found[0]!;
}

/**
 * Has the server go on with its stream behind `offset`. Throws TargetUnreachable where it would send everything anew, or go on
 * with a stream of another id: a server that changed its role since it was asked may have left the one that was meant.
 */
export async function resumeStream(
  link: ReplicaLink,
  { lineage, offset }: { readonly lineage: string; readonly offset: number },
): Promise<void> {
  await requireOk(link, 'REPLCONF', 'capa', 'eof', 'capa', 'psync2');
  const answer = await link.ask('PSYNC', lineage, `${offset + 1}`);
  const [word, id = lineage] = answer.split(' ');
  if (word === '+CONTINUE' && id === lineage) return;
  if (word !== '+CONTINUE' && word !== '+FULLRESYNC') throw refusal(answer, link.peer);
  const why =
    word === '+CONTINUE' ? `goes on with the stream ${id} by now` : `does not go on behind ${offset} any more`;
  throw failure('TargetUnreachable', `Redis at ${link.peer} ${why}, asked for ${lineage}`, {
    next: 'Nothing has to be done: archiving looks again by itself where it goes on, and takes a full backup where something is missing.',
  });
}

async function streamState(client: Redis, endpoint: RedisEndpoint, ctx: CallContext): Promise<StreamState> {
  let info = await readInfo(client, 'replication');
  requirePrimary(info, endpoint);
  if (info.get('repl_backlog_active') !== '1') {
    await beginBacklog(client, endpoint, ctx);
    info = await readInfo(client, 'replication');
  }
  const number = (name: string) => Number(info.get(name) ?? NaN);
  const [id, leftAt] = [info.get('master_replid') ?? '', number('second_repl_offset') - 1];
  const first = info.get('repl_backlog_active') === '1' ? number('repl_backlog_first_byte_offset') - 1 : null;
  const before = leftAt >= 0 ? { id: info.get('master_replid2') ?? '', leftAt } : null;
  return { id, end: number('master_repl_offset'), first, before };
}

function requirePrimary(info: RedisInfo, endpoint: RedisEndpoint): void {
  if (info.get('role') === 'master') return;
  throw failure(
    'TargetUnreachable',
    `Redis at ${addressOf(endpoint)} is no primary: its stream is archived at the primary`,
  );
}

/**
 * A server that never had a replica keeps no stream. It begins to as soon as one asks; the copy that it would send then
 * waits for `repl-diskless-sync-delay`, and is not made when nobody is left to get it.
 */
async function beginBacklog(client: Redis, endpoint: RedisEndpoint, ctx: CallContext): Promise<void> {
  await withReplicaLink(endpoint, ctx, async (link) => {
    await requireOk(link, 'REPLCONF', 'capa', 'eof', 'capa', 'psync2');
    link.tell('PSYNC', '?', '-1');
    for (const deadline = Date.now() + 10_000; Date.now() < deadline;) {
      if ((await readInfo(client, 'replication')).get('repl_backlog_active') === '1') return;
      await delay(20, undefined, { signal: ctx.signal });
    }
    throw failure('TargetUnreachable', `Redis at ${addressOf(endpoint)} keeps no replication stream`);
  });
}
