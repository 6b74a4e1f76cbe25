import type { LossEstimate } from './replication';
import type { FailOverInput, FailOverResult } from './runs';

const cell = (text: string | number | null) =>
  String(text ?? '')
    .replaceAll('|', '\\|')
    .replaceAll('\n', ' ');

/** The report as people read it; the JSON beside it has the same facts. */
export function failoverMarkdown(application: string, input: FailOverInput, result: FailOverResult): string {
  const seconds = (from: string | null, to: string | null) =>
    from && to ? ((Date.parse(to) - Date.parse(from)) / 1_000).toFixed(1) : '';
  return [
    `# Failover of ${application}: ${result.outcome}`,
    '',
    `${result.fromSite} → ${result.toSite}, requested by ${input.requestedBy}: ${input.reason}. ${result.reason}.`,
    '',
    `Approved by ${result.approvedBy ?? 'nobody'}; epoch ${result.epoch ?? 'not taken'}; ` +
      `from approval to verified service: ${result.approvalToVerifiedSeconds?.toFixed(1) ?? 'not reached'} s.`,
    '',
    '## Loss, as shown before the approval',
    '',
    ...lossTable(result.losses),
    ...(result.lossesAtApproval.length > 0
      ? ['', '## Loss, measured once more when the approval came', '', ...lossTable(result.lossesAtApproval)]
      : []),
    ...(result.afterUndo.length > 0
      ? ['', '## After the undo', '', ...result.afterUndo.map((line) => `- ${line}`)]
      : []),
    '',
    '## Fence evidence',
    '',
    ...result.evidence.map(
      ({ strength, stores, how, by, at }) =>
        `- **${strength}** for ${stores.join(', ') || 'no store'}: ${how} (${by}, ${at})`,
    ),
    '',
    '## Steps',
    '',
    '| step | state | seconds | note |',
    '|---|---|---:|---|',
    ...result.steps.map(
      (step) =>
        `| ${cell(step.title)} | ${step.state} | ${seconds(step.startedAt, step.finishedAt)} | ${cell(step.note)} |`,
    ),
    '',
    '## Verified through the public name',
    '',
    ...result.endpoints.map(
      (each) => `- ${each.method} ${each.url}: ${each.status} from ${each.address} in ${each.milliseconds} ms`,
    ),
    '',
  ].join('\n');
}

function lossTable(losses: readonly LossEstimate[]): string[] {
  return [
    '| store | certainty | bytes | operations | seconds | basis |',
    '|---|---|---:|---:|---:|---|',
    ...losses.map(
      (loss) =>
        `| ${loss.store} | ${loss.certainty} | ${loss.bytes ?? 'unknown'} | ${loss.operations ?? 'unknown'} | ` +
        `${loss.seconds?.toFixed(1) ?? 'unknown'} | ${cell(loss.basis)} |`,
    ),
  ];
}
