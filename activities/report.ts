import { layout } from '../core/layout';
import { htmlOf } from '../core/report/html';
import { markdownOf } from '../core/report/markdown';
import type { RunReport } from '../core/report/run-report';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export function createReportActivities(deps: ActivityDeps) {
  return {
    /**
     * Stores a run's report and answers the key of its JSON: that for machines, Markdown and a page for people made of it.
     * Repeatable: the same report gives the same bytes. The JSON comes last, so that a report that is listed is whole.
     */
    async storeReport(input: { application: string; report: RunReport }): Promise<string> {
      return withCallContext(async () => {
        const { control } = deps.open(input.application);
        const { report } = input;
        const put = (extension: 'md' | 'html' | 'json', text: string) =>
          control.put(layout.report(report.id, extension), Buffer.from(text));
        await Promise.all([put('md', markdownOf(report)), put('html', htmlOf(report))]);
        await put('json', `${JSON.stringify(report, null, 2)}\n`);
        return layout.report(report.id, 'json');
      });
    },
  };
}
