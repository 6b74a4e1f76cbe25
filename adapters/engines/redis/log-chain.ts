import type { CallContext } from '../../../core/call';
import type { Manifest } from '../../../core/catalog';
import { failure } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import type { Position } from '../../../core/positions';
import { askLog, type ListedLog } from '../listed-log';
import { type LineageDescription, readLineage } from './lineage';
import { offsetOf, type PieceName, readPieceName } from './positions';

/** A stored piece, and the part of it that belongs to the way. */
export interface ChainLink extends PieceName {
  readonly entry: LogEntry;
  /** Offsets: what lies before was in the piece before, what lies behind `until` is of a stream that was left. */
  readonly since: number;
  readonly until: number;
}

/** The pieces that lead on from a backup without a gap, from one replication id to the next. */
export interface LogChain {
  readonly backup: Manifest;
  readonly links: readonly ChainLink[];
  /** The last place that can be reached, its replication id, and the instant until which everything is covered, in milliseconds. */
  readonly end: number;
  readonly lineage: string;
  readonly coversUntil: number;
}

interface ListedPiece extends PieceName {
  readonly entry: LogEntry;
}

/** What is archived, as it was listed once. */
export class KnownStream {
  readonly #listed: ListedLog;
  readonly #described: readonly LineageDescription[];
  readonly #pieces = new Map<string, Promise<ListedPiece[]>>();

  constructor(listed: ListedLog, history: ReadonlyMap<string, Buffer | Error>) {
    this.#listed = listed;
    this.#described = [...history.keys()]
      .map((name) => readLineage(history, name.replace(/\.json$/, '')))
      .filter((each) => each !== null && each !== 'damaged');
  }

  /** In log order; their names are read once for however many backups. */
  pieces(lineage: string): Promise<ListedPiece[]> {
    const known = this.#pieces.get(lineage) ?? this.#read(lineage);
    this.#pieces.set(lineage, known);
    return known;
  }

  /** Where the stream went on under another id, at or behind what was reached; of several the newest. */
  continuationOf(lineage: string, reached: number): { readonly lineage: string; readonly leftAt: number } | null {
    const next = this.#described
      .filter(({ parent }) => parent?.lineage === lineage && parent.leftAt >= reached)
      .toSorted((a, b) => a.beganAt.localeCompare(b.beganAt))
      .at(-1);
    return next?.parent ? { lineage: next.lineage, leftAt: next.parent.leftAt } : null;
  }

  noteHole(): void {
    this.#listed.hasHole = true;
  }

  /** A piece that was listed cannot be read: it may have given way to a segment since. */
  noteVanished(): void {
    this.#listed.hasVanished = true;
  }

  async #read(lineage: string): Promise<ListedPiece[]> {
    return (await this.#listed.entries(lineage)).flatMap((entry) => {
      const name = readPieceName(entry.name);
      return name ? [{ entry, ...name }] : [];
    });
  }
}

/** `askLog` with what the history says of the lineages. */
export async function askStream<T>(
  log: LogArchive | null,
  ctx: Pick<CallContext, 'log' | 'signal'> | null,
  question: (log: KnownStream | null) => Promise<T>,
): Promise<T> {
  const history = (await log?.history()) ?? new Map<string, Buffer>();
  return askLog(log, ctx, (listed) => question(listed && new KnownStream(listed, history)));
}

/** What can be reached from a backup. `follow`: also where a promoted replica went on; else along its own replication id alone. */
export async function chainFrom(backup: Manifest, log: KnownStream | null, follow = true): Promise<LogChain> {
  const stop = stopOf(backup);
  const links: ChainLink[] = [];
  let [lineage, end, coversUntil] = [stop.lineage, offsetOf(stop), Date.parse(backup.consistentAt)];
  const seen = new Set<string>();
  while (!seen.has(lineage)) {
    if (!log) break;
    seen.add(lineage);
    const next = follow ? log.continuationOf(lineage, end) : null;
    const part = piecesFrom(await log.pieces(lineage), end, next?.leftAt ?? Infinity);
    if (part.hasHole) log.noteHole();
    for (const link of part.links) links.push(link);
    end = part.end;
    coversUntil = Math.max(coversUntil, part.coversUntil);
    if (!next || end !== next.leftAt) break;
    lineage = next.lineage;
  }
  return { backup, links, end, lineage, coversUntil };
}

/** The part of the way to a place that was planned with. Throws LogGap where it is not there any more. */
export async function linksTo(backup: Manifest, log: KnownStream | null, target: Position): Promise<ChainLink[]> {
  const offset = offsetOf(target);
  for (const follow of [true, false]) {
    const { links } = await chainFrom(backup, log, follow);
    const last = links.findIndex(({ until }) => until >= offset);
    if (links[last]?.entry.lineage === target.lineage) return links.slice(0, last + 1);
  }
  throw failure(
    'LogGap',
    `the archived stream does not lead from ${backup.backupId} to ${offset} of ${target.lineage} any more`,
  );
}

function piecesFrom(pieces: readonly ListedPiece[], from: number, leftAt: number) {
  const links: ChainLink[] = [];
  let [reached, end, coversUntil, hasHole] = [from, from, 0, false];
  for (const piece of pieces) {
    if (piece.to <= reached || reached >= leftAt) continue;
    if (piece.from > reached) {
      hasHole = true;
      break;
    }
    const until = Math.min(piece.to, leftAt);
    links.push({ ...piece, since: reached, until });
    reached = until;
    // A lineage is left between two commands.
    if (piece.database === null && until !== leftAt) continue;
    end = reached;
    if (piece.to === until) coversUntil = Math.max(coversUntil, piece.coversUntil ?? 0);
  }
  return { links, end, coversUntil, hasHole };
}

export function stopOf(backup: Manifest) {
  if (!backup.stop) throw new Error(`the manifest of ${backup.backupId} has no stop position`);
  return backup.stop;
}
