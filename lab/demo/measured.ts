import type { FailOverStatus } from '../../core/role-change-runs';
import type { LossEstimate } from '../../core/replication';
import type { Journal, JournalOrder } from '../load/journal';

export interface Loss {
  readonly orders: readonly JournalOrder[];
  /** From the first acknowledged order that is missing to the moment the site died; 0 where none is. */
  readonly seconds: number;
}

/** Acknowledged orders that are missing, and how far back the oldest of them lies. */
export function lossOf(missing: readonly JournalOrder[], diedAt: Date): Loss {
  const times = missing.flatMap(({ acknowledged }) => (acknowledged ? [acknowledged.atMs] : []));
  return {
    orders: missing,
    seconds: times.length === 0 ? 0 : Math.max(0, (diedAt.getTime() - Math.min(...times)) / 1_000),
  };
}

/** Seconds between the last acknowledgement before a moment and the first after it: what shoppers felt. */
export function outageSeconds(journal: Journal, around: Date): number | null {
  const times = [...journal.orders.values()].flatMap(({ acknowledged }) => (acknowledged ? [acknowledged.atMs] : []));
  const before = Math.max(...times.filter((time) => time <= around.getTime()));
  const after = Math.min(...times.filter((time) => time > around.getTime() + 1_000));
  return Number.isFinite(before) && Number.isFinite(after) ? (after - before) / 1_000 : null;
}

export function phaseSeconds(status: FailOverStatus): { readonly title: string; readonly seconds: number }[] {
  return status.steps
    .filter((step) => step.startedAt && step.finishedAt)
    .map((step) => ({
      title: step.title,
      seconds: (Date.parse(step.finishedAt ?? '') - Date.parse(step.startedAt ?? '')) / 1_000,
    }));
}

export function boundWords(loss: LossEstimate | undefined): string {
  if (!loss || loss.certainty === 'unknown') return 'unknown';
  const parts = [
    loss.seconds === null ? null : `${loss.seconds.toFixed(1)} s`,
    loss.operations === null ? null : `${loss.operations} transactions`,
    loss.bytes === null ? null : `${loss.bytes} bytes`,
  ];
  return `≤ ${parts.filter((part) => part !== null).join(', ')}`;
}

/** Columns as wide as their widest cell. */
export function table(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)));
  const line = (row: readonly string[]) =>
    `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd();
  const [head, ...body] = rows;
  return head ? [line(head), `  ${widths.map((width) => '─'.repeat(width)).join('  ')}`, ...body.map(line)] : [];
}
