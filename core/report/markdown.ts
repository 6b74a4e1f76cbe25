import type { StepStatus } from '../runs';
import { drillTables } from './drill-tables';
import {
  actualText,
  clockText,
  estimateText,
  type Figure,
  figuresOf,
  objectiveText,
  secondsBetween,
  secondsText,
  stateText,
  storeResults,
  titleOf,
} from './figures';
import { oneLine } from './plain-text';
import type { PartResult, RunReport } from './run-report';

/**
 * The report as Markdown, for a terminal, a ticket or a chat. Whatever came from people or servers is on one line and cannot
 * become markup.
 */
export function markdownOf(report: RunReport): string {
  return [
    `# ${text(titleOf(report))}`,
    '',
    ...headOf(report),
    '',
    ...table(['', '', ''], figuresOf(report).map(figureRow)),
    ...list('What to look at', report.warnings.map(text)),
    ...drillTables(report).flatMap(({ heading, header, rows }) =>
      section(
        text(heading),
        table(
          header,
          rows.map((row) => row.map(text)),
        ),
      ),
    ),
    ...timeline(report),
    ...decisions(report),
    ...evidence(report),
    ...loss(report),
    ...parts(report),
    ...list('What was said meanwhile', report.messages.map(text)),
    '',
    `Report ${text(report.id)} (format ${report.formatVersion}) of workflow ${text(report.workflowId)}, run ${text(report.runId)}.`,
    '',
  ].join('\n');
}

function headOf({ move, because, requestedBy, requestReason, startedAt, endedAt }: RunReport): string[] {
  const took = secondsText(secondsBetween(startedAt, endedAt));
  return [
    ...(move
      ? [
          `**${text(move.from)} → ${text(move.to)}**, ${move.epoch === null ? 'no epoch was taken' : `epoch ${move.epoch}`}.`,
        ]
      : []),
    `${text(because)}.`,
    ...(requestedBy === null
      ? []
      : [`Asked for by ${text(requestedBy)}${requestReason ? `: ${text(requestReason)}` : ''}.`]),
    `${clockText(startedAt)} to ${clockText(endedAt)}, ${took}.`,
  ];
}

const figureRow = ({ label, value, note, judgement }: Figure) => [
  text(label),
  `**${text(value)}**${judgement === 'over' ? ' ⚠' : ''}`,
  text(note),
];

function timeline({ steps, startedAt }: RunReport): string[] {
  const row = (step: StepStatus) => [
    step.startedAt === null ? '' : `+${secondsText(secondsBetween(startedAt, step.startedAt))}`,
    step.startedAt && step.finishedAt ? secondsText(secondsBetween(step.startedAt, step.finishedAt)) : '',
    text(step.title),
    stateText(step),
    text(step.note ?? ''),
  ];
  return section('Timeline', table(['from start', 'took', 'step', '', 'result'], steps.map(row), 2));
}

function decisions(report: RunReport): string[] {
  if (report.decisions === null) return [];
  if (report.decisions.length === 0) return section('Decisions', ['Nobody decided anything.']);
  const rows = report.decisions.map(({ at, by, command, step, reason, note }) => [
    clockText(at),
    text(by),
    text(step === null ? command : `${command} ${step}`),
    text([reason, note].filter((each) => each !== null).join('; ')),
  ]);
  return section('Decisions', table(['when', 'who', 'what', ''], rows));
}

function evidence(report: RunReport): string[] {
  if (report.evidence === null) return [];
  if (report.evidence.length === 0) return section('Fence evidence', ['Nothing was fenced.']);
  return list(
    'Fence evidence',
    report.evidence.map(
      ({ strength, stores, how, by, at }) =>
        `**${strength}** for ${stores.map(text).join(', ') || 'no store'}: ${text(how)} (${text(by)}, ${clockText(at)})`,
    ),
  );
}

function loss({ loss: found }: RunReport): string[] {
  if (!found) return [];
  const shown = found.approvedBy === null ? 'estimate' : `estimate that ${text(found.approvedBy)} approved`;
  const estimated = found.stores.some(({ estimate }) => estimate !== null);
  const rows = found.stores.map(({ store, rpoSeconds, estimate, atApproval, actual }) => [
    text(store),
    ...(estimated
      ? [
          estimateText(estimate),
          objectiveText(estimate, rpoSeconds),
          atApproval === null ? '' : estimateText(atApproval),
        ]
      : []),
    actualText(actual),
  ]);
  const why = found.stores.flatMap(({ store, estimate, actual }) => [
    ...(estimate ? [`- ${text(store)}, estimate: ${text(estimate.basis)}`] : []),
    ...(actual ? [`- ${text(store)}, actual: ${text(actual.basis)}`] : []),
  ]);
  const columns = estimated ? [shown, 'objective', 'measured again at the approval'] : [];
  return section('Loss', [...table(['store', ...columns, 'actual'], rows), '', ...why]);
}

function parts(report: RunReport): string[] {
  const { stores, services, dns, endpoints } = report;
  const result = (part: PartResult | undefined) =>
    part === undefined ? '' : text([stateText(part), part.note].filter((each) => each !== null).join(': '));
  const columns = storeResults(report);
  const rows = stores.map(({ store, engine, results }) => [
    text(store),
    text(engine),
    ...columns.map((what) => result(results.find((each) => each.what === what))),
  ]);
  return [
    ...(rows.length > 0 ? section('Stores', table(['store', 'engine', ...columns], rows)) : []),
    ...list(
      'Services',
      (services ?? []).map((each) => `${text(each.name)}: ${result(each)}`),
    ),
    ...list(
      'Names',
      (dns ?? []).map(
        (each) =>
          `${text(each.name)} → ${each.values.map(text).join(', ')} (TTL ${secondsText(each.ttlSeconds)}): ${result(each)}`,
      ),
    ),
    ...list(
      'Seen through the public name',
      (endpoints ?? []).map(
        ({ method, url, status, address, milliseconds, problem }) =>
          `${text(method)} ${text(url)}: ${text(problem ?? String(status))} from ${text(address ?? 'nowhere')} in ${milliseconds} ms`,
      ),
    ),
  ];
}

const section = (heading: string, lines: readonly string[]): string[] => ['', `## ${heading}`, '', ...lines];

const list = (heading: string, items: readonly string[]): string[] =>
  items.length === 0
    ? []
    : section(
        heading,
        items.map((item) => `- ${item}`),
      );

function table(header: readonly string[], rows: readonly (readonly string[])[], numbers = 0): string[] {
  if (rows.length === 0) return [];
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(header), line(header.map((_, index) => (index < numbers ? '---:' : '---'))), ...rows.map(line)];
}

/** Underscores inside a word are no markup, and names of stores are full of them. */
const MARKUP = /[\\`*[\]<>|~]|(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])|&(?=#?\w+;)/gu;

const text = (words: string): string => oneLine(words).replaceAll(MARKUP, '\\$&');

export { table as markdownTable, text as escapedMarkdown };
