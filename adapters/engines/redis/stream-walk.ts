import type { CallContext } from '../../../core/call';
import { failure, reasonOf } from '../../../core/errors';
import type { LogArchive } from '../../../core/log-archive';
import { isUnreadable, openedAhead } from '../opened-pieces';
import { slicesBehind } from '../slices-behind';
import { CommandScanner, type ScannedCommand } from './command-scanner';
import type { ChainLink } from './log-chain';
import { naming, readPieceName } from './positions';
import { decodePiece, type StreamPiece } from './stream-piece';

/** Where pieces are read from. */
export type StoredPieces = Pick<LogArchive, 'open' | 'replaced'>;

/** The part of a piece that belongs to the way. */
export interface WalkedPiece extends StreamPiece {
  readonly link: ChainLink;
}

/**
 * The pieces of a way in order, decoded. While they are read slices may give way to segments: the way is then asked for `anew`.
 * In the place of a damaged segment its slices are read where they are still there. Throws BackupCorrupt that names the piece
 * that cannot be read.
 */
export async function* walkedPieces(
  log: StoredPieces,
  links: readonly ChainLink[],
  ctx: CallContext,
  anew?: () => Promise<readonly ChainLink[]>,
): AsyncGenerator<WalkedPiece> {
  let [rest, reached, failed] = [links, 0, ''];
  for (;;) {
    let at = 0;
    try {
      const entries = rest.map((link) => link.entry);
      for await (const { entry, content } of openedAhead(log, entries, ctx.signal)) {
        const link = rest[at] as ChainLink;
        yield { ...decodePiece(entry, await contentOf(content)), link };
        at += 1;
        reached = link.until;
      }
      return;
    } catch (error) {
      const link = rest[at];
      if (!link || !isUnreadable(error)) throw error;
      const slices = await slicesOf(log, link);
      if (slices) {
        ctx.log.warn({ error: reasonOf(error) }, 'a segment is damaged: its slices are read');
        rest = [...slices, ...rest.slice(at + 1)];
        continue;
      }
      const { key } = link.entry;
      if (!anew || key === failed) throw error;
      ctx.log.warn({ error: reasonOf(error) }, 'the log is listed again after a piece of it could not be read');
      failed = key;
      rest = (await anew()).filter(({ until }) => until > reached);
    }
  }
}

/** In the place of a segment that cannot be read; null where they are not there any more. */
async function slicesOf(log: StoredPieces, { entry, since, until }: ChainLink): Promise<ChainLink[] | null> {
  const slices = entry.kind === 'segment' ? await slicesBehind(log, entry, naming) : [entry];
  if (slices[0]?.key === entry.key) return null;
  let reached = since;
  return slices.flatMap((slice) => {
    const name = readPieceName(slice.name);
    if (!name || name.to <= reached || reached >= until) return [];
    const link = { ...name, entry: slice, since: reached, until: Math.min(name.to, until) };
    reached = link.until;
    return [link];
  });
}

/** The whole of a piece, which is never large. */
export async function contentOf(content: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of content) chunks.push(chunk);
  const [only] = chunks;
  return only && chunks.length === 1 ? only : Buffer.concat(chunks);
}

/** A scanner that also knows where one may stop: between two commands, outside of every transaction. */
export class StreamWalk {
  readonly scanner: CommandScanner;
  database: number;
  #inTransaction = false;
  #boundary: number;

  constructor(offset: number, database: number) {
    this.scanner = new CommandScanner(offset);
    this.database = database;
    this.#boundary = offset;
  }

  /** The last place at which one may stop. */
  get boundary(): number {
    return this.#boundary;
  }

  /** Takes the bytes of a piece that it has not seen yet, up to `until`. */
  take({ from, raw, link }: WalkedPiece, until: number, onCommand: (command: ScannedCommand) => void): Buffer {
    const { offset } = this.scanner;
    if (from > offset)
      throw failure('LogGap', `${link.entry.key} begins behind ${offset}, up to which the stream was read`);
    const fresh = raw.subarray(offset - from, Math.max(offset, Math.min(link.until, until)) - from);
    this.scanner.feed(fresh, (command) => {
      const { name, words, to } = command;
      if (name === 'SELECT') this.database = Number(words[1]);
      this.#inTransaction = name === 'MULTI' || (this.#inTransaction && name !== 'EXEC');
      if (!this.#inTransaction) this.#boundary = to;
      onCommand(command);
    });
    return fresh;
  }
}
