import { GROWTH_COVERED_SECONDS } from '../core/approval';
import { formatBytes, formatDuration } from '../core/clock';
import type { LossEstimate } from '../core/replication';
import type { ApprovalCard } from '../core/role-change-runs';
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
    `${card.planned ? 'Switch' : 'Fail'} ${card.application} over from ${card.fromSite} to ${card.toSite}?`,
    `  asked by  ${card.requestedBy}: ${card.reason}`,
    ...card.evidence.map((line, index) => `  ${index === 0 ? 'seen    ' : '        '}  ${line}`),
    `  measured  ${shortTime(card.measuredAt)} (${relativeTime(card.measuredAt, now)}), card ${card.number}`,
    ...(card.problem === null ? [] : [`  ! it could not be measured anew: ${card.problem}`]),
    ...card.worse.map((why) => `  ! worse than what was approved: ${why}`),
    '',
    ...(card.planned
      ? plannedLines(card.planned)
      : [
          'What would be lost:',
          ...indent(tableLines(['store', 'certainty', 'time', 'changes', 'bytes', ''], rows)),
          ...card.losses.map(({ store, basis }) => `  ${store}: ${basis}`),
          ...growthLines(card.losses),
          ...forceLines(card.losses),
        ]),
    `  objectives: RPO ${formatDuration(card.rpoSeconds * 1_000)}, RTO ${formatDuration(card.rtoSeconds * 1_000)}`,
    '',
  ];
}

function plannedLines({ withinSeconds }: NonNullable<ApprovalCard['planned']>): string[] {
  return [
    'What would be lost: nothing. No store is promoted before it has proven that it has everything.',
    '  Users are not served from the stop of the services until the new site is verified; where the promotion is not',
    `  reached ${formatDuration(withinSeconds * 1_000)} after the first step, everything returns to where it was.`,
  ];
}

function overObjective({ seconds }: LossEstimate, rpoSeconds: number): string {
  if (seconds === null) return 'cannot be measured';
  return seconds > rpoSeconds ? 'OVER the objective' : 'within the objective';
}

/** What an approval covers besides the bound: a dead primary loses nothing more, one that is merely cut off does. */
function growthLines(losses: readonly LossEstimate[]): string[] {
  if (losses.every(({ certainty }) => certainty === 'unknown')) return [];
  const rates = losses.flatMap(({ store, growth: { operationsPerSecond, bytesPerSecond } }) => {
    if (operationsPerSecond !== null) return [`${store} ${operationsPerSecond.toFixed(1)} changes/s`];
    return bytesPerSecond === null ? [] : [`${store} ${formatBytes(Math.round(bytesPerSecond))}/s`];
  });
  const peak = rates.length === 0 ? '' : ` (peak: ${rates.join(', ')})`;
  return [
    `  These bounds grow by a second each second until the old site is fenced${peak}:`,
    `  an approval covers ${GROWTH_COVERED_SECONDS} s of that; if it is worse by then, you are asked again.`,
  ];
}

/** What the approval alone does not allow: it is not undone by anything, and takes an approver's word of its own. */
function forceLines(losses: readonly LossEstimate[]): string[] {
  const forced = losses.filter(({ mustForce }) => mustForce !== undefined);
  if (forced.length === 0) return [];
  return [
    '',
    ...forced.map(({ store, mustForce }) => `  ! ${store} would have to be reconfigured by force: ${mustForce}.`),
    '    What only the lost members have is lost then, also what was acknowledged by a majority, and the old site has to be',
    '    proven dead. Bring a member back, or attest it besides the approval: drctl failover force --by <name> --reason <why>',
  ];
}

const indent = (lines: readonly string[]) => lines.map((line) => `  ${line}`);
