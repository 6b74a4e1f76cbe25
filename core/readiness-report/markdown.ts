import { oneLine } from '../report/plain-text';
import { escapedMarkdown, markdownTable } from '../report/markdown';
import type { ReadinessReport } from './report';
import { sectionsOf } from './sections';
import { judgedText, measuredText, periodText, targetText, titleOf } from './words';

const text = escapedMarkdown;

/** The report as Markdown; what the page draws is in its tables. */
export function readinessMarkdown(report: ReadinessReport): string {
  const { outcome, because, risks, objectives, requestedBy, id, formatVersion } = report;
  return [
    `# ${text(titleOf(report))}`,
    '',
    `**${text(outcome)}**: ${text(because)}.`,
    '',
    text(periodText(report)),
    '',
    ...markdownTable(
      ['objective', 'promised', 'measured', '', 'of what'],
      objectives.map((each) => [
        text(each.title),
        text(targetText(each)),
        `**${text(measuredText(each))}**`,
        `${text(judgedText(each))}${each.judgement === 'over' ? ' ⚠' : ''}`,
        text(each.basis),
      ]),
    ),
    ...(risks.length === 0 ? ['', 'No open risk is known.'] : ['', '## Open risks', '']),
    ...risks.map(
      ({ severity, text: what, next }) =>
        `- **${severity}** ${text(what)}${next === null ? '' : ` → ${oneLine(next)}`}`,
    ),
    ...sectionsOf(report).flatMap(({ heading, words, table }) => [
      '',
      `## ${text(heading)}`,
      ...(words === null ? [] : ['', text(words)]),
      ...(table === null
        ? []
        : [
            '',
            ...markdownTable(
              table.header,
              table.rows.map((row) => row.map(text)),
            ),
          ]),
    ]),
    '',
    `Report ${text(id)} (format ${formatVersion}), asked for by ${text(requestedBy ?? 'nobody')}.`,
    '',
  ].join('\n');
}
