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
  return storeReportForms(control, report.id, { md: markdownOf(report), html: htmlOf(report), json: report });
}

/** The same for a report of any kind. */
export async function storeReportForms(
  control: Pick<Repository, 'put'>,
  id: string,
  { md, html, json }: { readonly md: string; readonly html: string; readonly json: object },
): Promise<string> {
  const put = (extension: 'md' | 'html' | 'json', text: string) =>
    control.put(layout.report(id, extension), Buffer.from(text));
  await Promise.all([put('md', md), put('html', html)]);
  await put('json', `${JSON.stringify(json, null, 2)}\n`);
  return layout.report(id, 'json');
}
