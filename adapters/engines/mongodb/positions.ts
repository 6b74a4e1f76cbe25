import { failure } from '../../../core/errors';
import type { LogNaming } from '../../../core/log-archive';
import type { Position, PositionCodec } from '../../../core/positions';

export type MongodbPosition = Position<'mongodb'>;

/** An oplog timestamp: seconds and a counter within them. It orders every entry of a replica set. */
export interface Optime {
  readonly seconds: number;
  readonly increment: number;
}

export function compareOptimes(a: Optime, b: Optime): number {
  return a.seconds - b.seconds || a.increment - b.increment;
}

export function optimeOf(position: Position): Optime {
  const match = /^(\d{1,10}):(\d{1,10})$/.exec(position.value);
  if (!match)
    throw failure(
      'UsageInvalid',
      `"${position.value}" is not an optime: write seconds:increment, such as 1763800000:3`,
    );
  return { seconds: Number(match[1]), increment: Number(match[2]) };
}

export function positionOf(optime: Optime, lineage: string): MongodbPosition {
  return { engine: 'mongodb', lineage, value: `${optime.seconds}:${optime.increment}` };
}

/** Positions are optimes `T:I`; one stands for the state just after the entry that bears it. */
export const positions: PositionCodec<'mongodb'> = {
  parse(text, lineage) {
    const position: MongodbPosition = { engine: 'mongodb', lineage, value: text.trim() };
    return positionOf(optimeOf(position), lineage);
  },
  format: (position) => position.value,
  compare(a, b) {
    if (a.lineage !== b.lineage) {
      throw failure(
        'UsageInvalid',
        `optimes ${a.value} of ${a.lineage} and ${b.value} of ${b.lineage} have no common order`,
      );
    }
    return compareOptimes(optimeOf(a), optimeOf(b));
  },
};

/** Texts of optimes in this form are in their order: seconds have ten digits until the year 2286. */
export const sortableOptime = ({ seconds, increment }: Optime) => `${seconds}.${String(increment).padStart(10, '0')}`;

/** `<fromT>.<fromI>-<toT>.<toI>`: the increments padded, so that a listing is in log order. */
export function sliceName(from: Optime, to: Optime): string {
  return `${sortableOptime(from)}-${sortableOptime(to)}`;
}

/** The name of a slice over the whole range, and what it is: it lies where the first of its slices lay. */
export function segmentName(from: Optime, to: Optime): string {
  return `${sliceName(from, to)}.segment`;
}

const PIECE = /^(\d{1,10})\.(\d{1,10})-(\d{1,10})\.(\d{1,10})(\.segment)?$/;

/**
 * A slice `from-to` leads from the state after entry `from` to the state after entry `to`. It holds entry `from` as well,
 * although its predecessor ends with it: reading it in both proves that nothing was lost between them. A segment is what its
 * slices hold, in order, each entry once: the same bytes however the log was cut into slices.
 */
export const naming: LogNaming = {
  compare: (a, b) => positions.compare(a as MongodbPosition, b as MongodbPosition),
  read(lineage, name) {
    const match = PIECE.exec(name);
    if (!match) return null;
    const [fromSeconds, fromIncrement, toSeconds, toIncrement] = match.slice(1, 5).map(Number) as [
      number,
      number,
      number,
      number,
    ];
    return {
      kind: match[5] ? 'segment' : 'slice',
      from: positionOf({ seconds: fromSeconds, increment: fromIncrement }, lineage),
      to: positionOf({ seconds: toSeconds, increment: toIncrement }, lineage),
      coversUntil: null,
    };
  },
};
