import type { CheckHealthInput, CheckHealthResult } from '../core/runs';
import { anywhere, telling } from './proxies';
import { StepTable } from './step-table';

/**
 * Judges every store by what is in the repository, and tells people when one is not healthy. Any site
 * can do it: it matters most while the active one is down.
 */
export async function checkHealth({ application }: CheckHealthInput): Promise<CheckHealthResult> {
  const steps = new StepTable('health', application);
  const result = await steps.run(
    'check',
    'Judge every store',
    () => anywhere(application).checkStores({ application }),
    ({ stores }) =>
      [
        stores.map(({ store, status }) => `${store} ${status}`).join(', '),
        ...stores.flatMap(({ problems }) => problems.map((problem) => `to mend: ${problem}`)),
      ].join('; '),
  );
  await steps.run(
    'metrics',
    'Publish the state of every store',
    () => telling(application).publishHealth(result),
    (problems) => problems.join('; ') || 'published',
  );
  for (const { store, status, reasons, problems } of result.stores) {
    if (status === 'healthy') continue;
    await steps.run(`tell:${store}`, `Tell people about ${store}`, () =>
      telling(application).notify({
        // One alert an hour for one state of one store, however often the check runs.
        id: `health:${application}:${store}:${status}:${result.at.slice(0, 13)}`,
        application,
        severity: status === 'error' ? 'critical' : 'warning',
        title: `${store}: ${status}`,
        lines: [...reasons.map(({ text }) => text), ...problems.map((problem) => `to mend: ${problem}`)],
        at: result.at,
        fields: { backup_type: store, status },
      }),
    );
  }
  steps.finish('completed');
  return result;
}
