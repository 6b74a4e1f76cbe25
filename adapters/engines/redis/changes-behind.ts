import type { CallContext } from '../../../core/call';
import type { LogArchive } from '../../../core/log-archive';
import type { Position } from '../../../core/positions';
import { offsetOf, readPieceName } from './positions';
import { isNoise } from './stream-noise';
import { StreamWalk, walkedPieces } from './stream-walk';

/** Whether the archived stream holds more behind a position than marks and what else changes no data. */
export async function changesBehind(position: Position, log: LogArchive, ctx: CallContext): Promise<boolean> {
  const offset = offsetOf(position);
  const pieces = (await log.entries(position.lineage)).flatMap((entry) => {
    const name = readPieceName(entry.name);
    return name ? [{ ...name, entry, since: name.from, until: name.to }] : [];
  });
  // From a place between two commands: a piece that begins within one is read from its beginning.
  let first = pieces.findIndex(({ to }) => to > offset);
  while (first > 0 && pieces[first - 1]?.database === null) first -= 1;
  const links = first < 0 ? [] : pieces.slice(first);
  const walk = new StreamWalk(links[0]?.from ?? offset, 0);
  let found = false;
  for await (const piece of walkedPieces(log, links, ctx)) {
    walk.take(piece, Infinity, ({ name, to }) => {
      if (to > offset && name !== 'SELECT' && !isNoise(name)) found = true;
    });
    if (found) break;
  }
  return found;
}
