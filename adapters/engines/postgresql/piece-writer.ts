import type { LogArchive, LogEntry } from '../../../core/log-archive';
import type { Stretch } from './archive-start';
import { pieceName, type PostgresqlPosition, positionAt } from './lsn';
import type { SegmentPart } from './wal-collector';

/** Names and stores what was received of a stretch, and has each whole segment take the place of its slices. */
export class PieceWriter {
  durable: bigint;
  private readonly archive: LogArchive;
  private readonly stretch: Stretch;
  private readonly segmentBytes: bigint;
  private slices: LogEntry[];

  constructor(archive: LogArchive, stretch: Stretch, segmentBytes: bigint) {
    this.archive = archive;
    this.stretch = stretch;
    this.segmentBytes = segmentBytes;
    this.durable = stretch.durable;
    this.slices = [...stretch.slices];
  }

  position(): PostgresqlPosition {
    return positionAt(this.stretch.lineage, this.durable);
  }

  async store(part: SegmentPart, coversUntil: string | null): Promise<void> {
    const { lineage, timeline } = this.stretch;
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
}
