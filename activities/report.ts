import type { Json } from '../core/catalog';
import { layout } from '../core/layout';
import { withCallContext } from './context';
import type { ActivityDeps } from './deps';

export function createReportActivities(deps: ActivityDeps) {
  return {
    /** Stores a run's report, JSON for machines and Markdown for people, and answers the key of the JSON. Repeatable. */
    async storeReport(input: { application: string; id: string; content: Json; markdown: string }): Promise<string> {
      return withCallContext(async () => {
        const { control } = deps.open(input.application);
        const key = layout.report(input.id, 'json');
        await control.put(layout.report(input.id, 'md'), Buffer.from(input.markdown));
        await control.put(key, Buffer.from(`${JSON.stringify(input.content, null, 2)}\n`));
        return key;
      });
    },
  };
}
