import type { CallContext } from '../../../core/call';
import { offsetOf } from './positions';
import { type ChainLink, type LogChain, stopOf } from './log-chain';
import { isNoise } from './stream-noise';
import { markOf } from './stream-marks';
import { type StoredPieces, StreamWalk, walkedPieces } from './stream-walk';

/** The place in a stream that an instant names. */
export interface FoundInstant {
  readonly offset: number;
  /**
   * Null where it is exact. Else between which instants nobody listened, so that nothing says when what was written then was
   * executed: the state is the one before all of it. In milliseconds.
   */
  readonly unknown: { readonly from: number; readonly to: number } | null;
}

/**
 * Finds how far the stream has to be replayed for the state of an instant, which the chain covers. Marks in the stream
 * bound it: what lies before one was executed by then, what lies behind it later. Between two of them the times count at which the
 * stream was received, which are later by as much as it was under way.
 */
export async function findInstant(
  log: StoredPieces,
  chain: LogChain,
  at: number,
  ctx: CallContext,
): Promise<FoundInstant> {
  const stop = offsetOf(stopOf(chain.backup));
  const links = linksAround(chain.links, at);
  const [first] = links;
  if (!first) return { offset: stop, unknown: null };
  const search = new InstantSearch(first.since, at, Date.parse(chain.backup.consistentAt));
  const walk = new StreamWalk(first.since, 0);
  for await (const piece of walkedPieces(log, links, ctx)) {
    if (piece.resumedAt !== null) search.resumed(piece.resumedAt);
    const stamps = piece.stamps.filter(({ offset }) => offset > walk.scanner.offset && offset <= piece.link.until);
    walk.take(piece, Infinity, (command) => {
      for (; stamps[0] && stamps[0].offset < command.to; stamps.shift())
        search.received(stamps[0].offset, stamps[0].at);
      const mark = markOf(command);
      if (mark !== null) search.marked(command.to, mark);
      else if (!isNoise(command.name)) search.written();
    });
    for (const { offset, at: receivedAt } of stamps) search.received(offset, receivedAt);
    if (search.isOver) break;
  }
  const { offset, unknown } = search.found();
  return { offset: Math.max(offset, stop), unknown };
}

/** The place at or before an offset at which a replay may stop. */
export async function boundaryAt(
  log: StoredPieces,
  chain: LogChain,
  offset: number,
  ctx: CallContext,
): Promise<number> {
  const index = chain.links.findIndex(({ until }) => until >= offset);
  if (index < 0) return offsetOf(stopOf(chain.backup));
  const links = chain.links.slice(wholeStart(chain.links, index), index + 1);
  const walk = new StreamWalk((links[0] as ChainLink).since, 0);
  for await (const piece of walkedPieces(log, links, ctx)) walk.take(piece, offset, () => undefined);
  return walk.boundary;
}

/** From the piece with the last mark at or before the instant to that with the first one behind it. */
function linksAround(links: readonly ChainLink[], at: number): ChainLink[] {
  const covers = (link: ChainLink | undefined) => link?.coversUntil ?? 0;
  const last = links.findIndex((link) => covers(link) >= at);
  if (last < 0) return [];
  const before = covers(links[last - 1]);
  const first = last === 0 ? 0 : links.findIndex((link) => covers(link) === before);
  return links.slice(wholeStart(links, first), last + 1);
}

/** The link at or before this one that begins between two commands. */
function wholeStart(links: readonly ChainLink[], index: number): number {
  let start = index;
  while (start > 0 && links[start - 1]?.database === null) start -= 1;
  return start;
}

class InstantSearch {
  isOver = false;
  readonly #at: number;
  #offset: number;
  /** The newest instant at which all that was executed lay before `#offset`. */
  #time: number;
  /** Nobody listened until then; null where somebody does. */
  #unheardUntil: number | null = null;
  #writtenUnheard = false;
  #unknown: FoundInstant['unknown'] = null;

  constructor(offset: number, at: number, time: number) {
    this.#offset = offset;
    this.#at = at;
    this.#time = time;
  }

  /** What comes next was written while nobody listened, up to a mark of this instant. */
  resumed(at: number): void {
    this.#unheardUntil = at;
  }

  written(): void {
    if (this.#unheardUntil !== null) this.#writtenUnheard = true;
  }

  received(offset: number, at: number): void {
    if (this.isOver || this.#unheardUntil !== null || at > this.#at) return;
    this.#reach(offset, at);
  }

  marked(offset: number, at: number): void {
    if (this.isOver) return;
    if (at <= this.#at) this.#reach(offset, at);
    else {
      this.isOver = true;
      if (this.#writtenUnheard) this.#unknown = { from: this.#time, to: at };
    }
    this.#writtenUnheard = false;
    if (this.#unheardUntil !== null && at >= this.#unheardUntil) this.#unheardUntil = null;
  }

  found(): FoundInstant {
    return { offset: this.#offset, unknown: this.#unknown };
  }

  #reach(offset: number, at: number): void {
    this.#offset = Math.max(this.#offset, offset);
    this.#time = Math.max(this.#time, at);
  }
}
