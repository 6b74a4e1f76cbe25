import { failure } from '../../../core/errors';
import type { PositionCodec } from '../../../core/positions';

/** A file tree has no log: its only position is an instant. */
export const filesPositions: PositionCodec<'files'> = {
  parse(text, lineage) {
    const instant = Date.parse(text);
    if (Number.isNaN(instant)) {
      throw failure('UsageInvalid', `"${text}" is not an instant: write one such as 2026-11-22T13:05:03.000Z`);
    }
    return { engine: 'files', lineage, value: new Date(instant).toISOString() };
  },
  format: ({ value }) => value,
  compare(a, b) {
    if (a.lineage !== b.lineage) {
      throw failure('UsageInvalid', `instants of ${a.lineage} and of ${b.lineage} are not of one tree`);
    }
    return Date.parse(a.value) - Date.parse(b.value);
  },
};
