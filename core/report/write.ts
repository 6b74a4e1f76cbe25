import { layout } from '../layout';
import type { Repository } from '../repository';
import { htmlOf } from './html';
import { markdownOf } from './markdown';
import type { RunReport } from './run-report';

/**
 * Stores a run's report and answers the key of its JSON: that for machines, Markdown and a page for people made of it.
 * Repeatable: the same report gives the same bytes. The JSON comes last, so that a report that is listed is whole.
 */
export async function writeReport(control: Pick<Repository, 'put'>, report: RunReport): Promise<string> {
  const put = (extension: 'md' | 'html' | 'json', text: string) =>
    control.put(layout.report(report.id, extension), Buffer.from(text));
  await Promise.all([put('md', markdownOf(report)), put('html', htmlOf(report))]);
  await put('json', `${JSON.stringify(report, null, 2)}\n`);
  return layout.report(report.id, 'json');
}
