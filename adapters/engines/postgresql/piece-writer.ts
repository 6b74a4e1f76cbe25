import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { LogArchive, LogEntry } from '../../../core/log-archive';
import type { Stretch } from './archive-start';
import { parseLsn, pieceName, type PostgresqlPosition, positionAt } from './lsn';
import { readPiece, SPLIT_BRAIN_NEXT } from './same-history';
import type { SegmentPart } from './wal-collector';

/** Names and stores what was received of a stretch, and has each whole segment take the place of its slices. */
export class PieceWriter {
  durable: bigint;
  private readonly archive: LogArchive;
  private readonly stretch: Stretch;
  private readonly segmentBytes: bigint;
  private slices: LogEntry[];
  /** The stored slices of the segment that is continued, newest first, until the server was seen to have the same. */
  private unproven: readonly LogEntry[];
  private readonly log: CallContext['log'];

  constructor(archive: LogArchive, stretch: Stretch, segmentBytes: bigint, log: CallContext['log']) {
    this.archive = archive;
    this.stretch = stretch;
    this.segmentBytes = segmentBytes;
    this.durable = stretch.durable;
    this.slices = [...stretch.slices];
    this.log = log;
    this.unproven = stretch.slices.toSorted((a, b) => (parseLsn(a.to.value) > parseLsn(b.to.value) ? -1 : 1));
  }

  position(): PostgresqlPosition {
    return positionAt(this.stretch.lineage, this.durable);
  }

  async store(part: SegmentPart, coversUntil: string | null): Promise<void> {
    const { lineage, timeline } = this.stretch;
    await this.refuseOtherHistory(part);
    const from = part.whole || this.durable < part.start ? part.start : this.durable;
    const entry = await this.archive.append({
      lineage,
      name: pieceName(timeline, from, part.end, this.segmentBytes),
      kind: part.whole ? 'segment' : 'slice',
      from: positionAt(lineage, from),
      to: positionAt(lineage, part.end),
      coversUntil,
      content: part.bytes.subarray(Number(from - part.start), Number(part.end - part.start)),
    });
    if (part.end > this.durable) this.durable = part.end;
    if (!part.whole) {
      this.slices.push(entry);
    } else if (this.slices.length > 0) {
      await this.archive.replace(this.slices, entry);
      this.slices = [];
    }
  }

  /**
   * A server that was cloned, or put back to an earlier state and written to again, has other WAL under the same timeline:
   * what it sends of the segment that is archived in part must be what is archived. The newest slice tells: histories that
   * parted before it have different records there. One that is damaged tells nothing; the whole segment will take its place.
   */
  private async refuseOtherHistory(part: SegmentPart): Promise<void> {
    const [newest] = this.unproven;
    if (!newest || part.end < parseLsn(newest.to.value)) return;
    const slices = this.unproven;
    this.unproven = [];
    for (const slice of slices) {
      const archived = await readPiece(this.archive, slice);
      if (archived !== 'damaged') return this.requireEqual(slice, archived, part);
      this.log.error({ key: slice.key }, 'an archived slice is damaged: its whole segment will take its place');
    }
  }

  private requireEqual(slice: LogEntry, archived: Buffer, part: SegmentPart): void {
    const [from, to] = [slice.from, slice.to].map(({ value }) => Number(parseLsn(value) - part.start));
    if (archived.equals(part.bytes.subarray(from, to))) return;
    throw failure(
      'LogGap',
      `the server's WAL from ${slice.from.value} to ${slice.to.value} of ${this.stretch.lineage} is not what is archived there (split brain)`,
      {
        data: 'Two servers wrote different WAL under one timeline: what was archived first stays, the new WAL is not archived.',
        next: SPLIT_BRAIN_NEXT,
        context: { key: slice.key },
      },
    );
  }
}
