import { failure } from '../../../core/errors';
import type { LogNaming } from '../../../core/log-archive';
import type { Position, PositionCodec } from '../../../core/positions';

export type RedisPosition = Position<'redis'>;

/**
 * A replication offset under a replication id. Offsets of two ids are not comparable: after a promotion the same number
 * names another history (redis/docs, management/replication.md).
 */
export const redisPositions: PositionCodec<'redis'> = {
  parse(text, lineage) {
    if (!/^\d{1,19}$/.test(text.trim())) {
      throw failure('UsageInvalid', `"${text}" is not a Redis replication offset: write a number such as 1234567`);
    }
    return redisPosition(lineage, text.trim());
  },
  format: ({ value }) => value,
  compare(a, b) {
    if (a.lineage !== b.lineage) {
      throw failure('UsageInvalid', `offsets of the replication ids ${a.lineage} and ${b.lineage} cannot be compared`);
    }
    const [first, second] = [BigInt(a.value), BigInt(b.value)];
    return first < second ? -1 : first > second ? 1 : 0;
  },
};

export function redisPosition(replicationId: string, offset: string | number | bigint): RedisPosition {
  return { engine: 'redis', lineage: replicationId, value: `${offset}` };
}

/** The offset as a number: of the 2^53 bytes that it holds exactly, no stream has an end in sight. */
export const offsetOf = ({ value }: Position): number => Number(value);

/** What the name of a stored piece says, so that a listing alone is enough. */
export interface PieceName {
  readonly from: number;
  readonly to: number;
  /** Every command executed at or before this instant lies before `to`; milliseconds, null where nothing told the time yet. */
  readonly coversUntil: number | null;
  /** The database that is selected at `to`; null for a piece that ends within a command or a transaction. */
  readonly database: number | null;
  /** Of the content: two archivers cut the same bytes at the same places and still note other times. */
  readonly digest: string;
}

const PIECE = /^(\d{20})-(\d{20})\.(\d{15})\.(\d+|part)\.([0-9a-f]{8})(\.segment)?$/;

const padded = (value: number, digits: number) => String(value).padStart(digits, '0');

/** `<from>-<to>.<covered until>.<database at the end>.<digest>`, padded, so that a listing is in log order. */
export function pieceName({ from, to, coversUntil, database, digest }: PieceName, kind: 'slice' | 'segment'): string {
  const covers = padded(coversUntil ?? 0, 15);
  const name = `${padded(from, 20)}-${padded(to, 20)}.${covers}.${database ?? 'part'}.${digest}`;
  return kind === 'segment' ? `${name}.segment` : name;
}

export function readPieceName(name: string): PieceName | null {
  const [, from, to, covers, database, digest] = PIECE.exec(name) ?? [];
  if (!from || !to || !covers || !database || !digest) return null;
  return {
    from: Number(from),
    to: Number(to),
    coversUntil: Number(covers) || null,
    database: database === 'part' ? null : Number(database),
    digest,
  };
}

/** Offsets are those of the protocol: the state at one is that after so many bytes of the stream. */
export const naming: LogNaming = {
  compare: (a, b) => redisPositions.compare(a as RedisPosition, b as RedisPosition),
  read(lineage, name) {
    const piece = readPieceName(name);
    if (!piece) return null;
    return {
      kind: name.endsWith('.segment') ? 'segment' : 'slice',
      from: redisPosition(lineage, piece.from),
      to: redisPosition(lineage, piece.to),
      coversUntil: piece.coversUntil === null ? null : new Date(piece.coversUntil).toISOString(),
    };
  },
};
