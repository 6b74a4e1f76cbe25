import type { ReportReadinessResult } from './runs';
import { judgedText, measuredText, targetText } from './words';

/** A report in a few lines, for a message or a terminal. */
export function resultLines({ objectives, risks, risksInAll, because }: ReportReadinessResult): string[] {
  const more = risksInAll - risks.length;
  return [
    `${because}.`,
    ...objectives.map(
      (each) => `${each.title}: ${measuredText(each)}, promised ${targetText(each)}: ${judgedText(each)}`,
    ),
    ...(risks.length === 0 ? ['No open risk is known.'] : ['Open risks:']),
    ...risks.map(({ severity, text }) => `${severity}: ${text}`),
    ...(more > 0 ? [`and ${more} more`] : []),
  ];
}
