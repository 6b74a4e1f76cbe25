import { failure } from '../../../core/errors';
import type { LogNaming } from '../../../core/log-archive';
import type { Position, PositionCodec } from '../../../core/positions';

export type PostgresqlPosition = Position<'postgresql'>;

/** `0/3000148` → 50331976n. Throws UsageInvalid. */
export function parseLsn(text: string): bigint {
  const match = /^([0-9A-F]{1,8})\/([0-9A-F]{1,8})$/i.exec(text.trim());
  if (!match)
    throw failure('UsageInvalid', `"${text}" is not a PostgreSQL LSN: write it as the server does, such as 0/3000148`);
  // By way of numbers: BigInt reads text several times slower, and a month of log has hundreds of thousands of these.
  return (BigInt(Number.parseInt(match[1] as string, 16)) << 32n) | BigInt(Number.parseInt(match[2] as string, 16));
}

export function formatLsn(lsn: bigint): string {
  return `${(lsn >> 32n).toString(16).toUpperCase()}/${(lsn & 0xffffffffn).toString(16).toUpperCase()}`;
}

export const positions: PositionCodec<'postgresql'> = {
  parse: (text, lineage) => ({ engine: 'postgresql', lineage, value: formatLsn(parseLsn(text)) }),
  format: (position) => position.value,
  compare(a, b) {
    if (a.lineage !== b.lineage) {
      throw failure('UsageInvalid', `positions of two timelines cannot be compared: ${a.lineage} and ${b.lineage}`);
    }
    const [left, right] = [parseLsn(a.value), parseLsn(b.value)];
    return left < right ? -1 : left > right ? 1 : 0;
  },
};

export function positionAt(lineage: string, lsn: bigint): PostgresqlPosition {
  return { engine: 'postgresql', lineage, value: formatLsn(lsn) };
}

/** A lineage is one timeline of one cluster: `<system identifier>/<timeline>`. */
export function lineageOf(systemId: string, timeline: number): string {
  return `${systemId}/${timeline}`;
}

export function timelineOf(lineage: string): number {
  return Number(lineage.slice(lineage.lastIndexOf('/') + 1));
}

export function systemOf(lineage: string): string {
  return lineage.slice(0, lineage.lastIndexOf('/'));
}

/** initdb's default; a cluster may have any power of two from 1 MiB to 1 GiB, so that names carry what differs. */
const DEFAULT_SEGMENT_BYTES = 16n * 1024n * 1024n;

const hex8 = (value: bigint | number) => value.toString(16).toUpperCase().padStart(8, '0');

/** The name of the segment that holds `lsn`: timeline, then the segment's number split at 4 GiB (xlog_internal.h XLogFileName). */
export function segmentName(timeline: number, lsn: bigint, segmentBytes: bigint): string {
  const perXlogId = 0x1_0000_0000n / segmentBytes;
  const number = lsn / segmentBytes;
  return `${hex8(timeline)}${hex8(number / perXlogId)}${hex8(number % perXlogId)}`;
}

/** First position of a segment. */
export function segmentStart(name: string, segmentBytes: bigint): bigint {
  return (BigInt(`0x${name.slice(8, 16)}`) << 32n) + BigInt(`0x${name.slice(16, 24)}`) * segmentBytes;
}

export function floorToSegment(lsn: bigint, segmentBytes: bigint): bigint {
  return lsn - (lsn % segmentBytes);
}

const SIZE_SUFFIX = /^(?<segment>[0-9A-F]{24})(?:\.s(?<mebibytes>\d+))?(?:\.(?<from>[0-9A-F]{8})-(?<to>[0-9A-F]{8}))?$/;

/** `000000010000000000000003` for a whole segment, `000000010000000000000003.0001A000-00020000` for a slice of it. */
export function pieceName(timeline: number, from: bigint, to: bigint, segmentBytes: bigint): string {
  const start = floorToSegment(from, segmentBytes);
  const segment = segmentName(timeline, from, segmentBytes);
  // Segments of another size are named alike but cover other positions, so that the name has to say it.
  const base = segmentBytes === DEFAULT_SEGMENT_BYTES ? segment : `${segment}.s${segmentBytes / 1_048_576n}`;
  return from === start && to === start + segmentBytes ? base : `${base}.${hex8(from - start)}-${hex8(to - start)}`;
}

/** What a stored piece is a part of. Null for names that are not ours. */
export function readPieceName(
  name: string,
): { segment: string; segmentBytes: bigint; from: bigint; to: bigint; whole: boolean } | null {
  const groups = SIZE_SUFFIX.exec(name)?.groups;
  const segment = groups?.['segment'];
  if (!segment) return null;
  const segmentBytes = groups['mebibytes'] ? BigInt(groups['mebibytes']) * 1_048_576n : DEFAULT_SEGMENT_BYTES;
  const start = segmentStart(segment, segmentBytes);
  if (!groups['from'] || !groups['to']) {
    return { segment, segmentBytes, from: start, to: start + segmentBytes, whole: true };
  }
  const [from, to] = [start + BigInt(`0x${groups['from']}`), start + BigInt(`0x${groups['to']}`)];
  return from < to && to <= start + segmentBytes ? { segment, segmentBytes, from, to, whole: false } : null;
}

export const walNaming: LogNaming = {
  compare: (a, b) => positions.compare(a as PostgresqlPosition, b as PostgresqlPosition),
  read(lineage, name) {
    const piece = readPieceName(name);
    if (!piece || Number(`0x${piece.segment.slice(0, 8)}`) !== timelineOf(lineage)) return null;
    return {
      kind: piece.whole ? 'segment' : 'slice',
      from: positionAt(lineage, piece.from),
      to: positionAt(lineage, piece.to),
      coversUntil: null,
    };
  },
};
