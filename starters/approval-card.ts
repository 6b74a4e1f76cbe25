import { formatBytes, formatDuration } from '../core/clock';
import type { LossEstimate } from '../core/replication';
import type { ApprovalCard } from '../core/runs';
import { relativeTime, shortTime, tableLines } from './table';

/** What an approver signs: who asks, what was seen, what would be lost. Unknown is written as unknown, never as zero. */
export function cardLines(card: ApprovalCard, now: Date): string[] {
  const rows = card.losses.map((loss) => [
    loss.store,
    loss.certainty === 'unknown' ? 'UNKNOWN' : 'at most',
    loss.seconds === null ? 'unknown' : formatDuration(loss.seconds * 1_000),
    loss.operations === null ? 'unknown' : String(loss.operations),
    loss.bytes === null ? 'unknown' : formatBytes(loss.bytes),
    overObjective(loss, card.rpoSeconds),
  ]);
  return [
    '',
    `Fail ${card.application} over from ${card.fromSite} to ${card.toSite}?`,
    `  asked by  ${card.requestedBy}: ${card.reason}`,
    ...card.evidence.map((line, index) => `  ${index === 0 ? 'seen    ' : '        '}  ${line}`),
    `  measured  ${shortTime(card.measuredAt)} (${relativeTime(card.measuredAt, now)})`,
    '',
    'What would be lost:',
    ...indent(tableLines(['store', 'certainty', 'time', 'changes', 'bytes', ''], rows)),
    ...card.losses.map(({ store, basis }) => `  ${store}: ${basis}`),
    `  objectives: RPO ${formatDuration(card.rpoSeconds * 1_000)}, RTO ${formatDuration(card.rtoSeconds * 1_000)}`,
    '',
  ];
}

function overObjective({ seconds }: LossEstimate, rpoSeconds: number): string {
  if (seconds === null) return 'cannot be measured';
  return seconds > rpoSeconds ? 'OVER the objective' : 'within the objective';
}

const indent = (lines: readonly string[]) => lines.map((line) => `  ${line}`);
