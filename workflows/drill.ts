import { CancellationScope, workflowInfo } from '@temporalio/workflow';
import { failure, reasonOf } from '../core/errors';
import type { DrillInput, DrillResult } from '../core/runs';
import { copyReport } from '../core/report/from-restore';
import { leaveReport } from './leave-report';
import { anywhere, atSite, onHost, telling } from './proxies';
import { restoreStore } from './restore-stores';
import { StepTable } from './step-table';

/**
 * The monthly rehearsal: restores every store to its latest state from the repository alone, into scratch places, reads
 * all of it, and removes it again, also when it failed or was cancelled. One store after the other: a rehearsal must not
 * take the disk and the processors that a real restore might need.
 */
export async function drill({ application, requestedBy }: DrillInput): Promise<DrillResult> {
  const steps = new StepTable('drill', application);
  const { application: described, activeSite } = await anywhere(application).describeApplication({ application });
  const site = described.sites.find((each) => each !== activeSite) ?? activeSite;
  const restoreId = `drill-${workflowInfo().runId.slice(0, 8)}`;
  const stores: DrillResult['stores'][number][] = [];
  steps.enter('rehearsing');

  for (const { name: store } of described.stores) {
    const startedAt = Date.now();
    const entry = { store, ok: false, note: '', seconds: 0 };
    try {
      const { hostQueue, plans, checked } = await atSite(application, site).planRestores({
        application,
        target: { kind: 'latest' },
        stores: [store],
      });
      const plan = plans[0];
      if (!plan) throw failure('NotFound', `no plan was made for store ${store}`);
      const place = await onHost(hostQueue).scratchPlace({ application, store, name: restoreId });
      try {
        const result = await restoreStore(steps, { application, restoreId, store, plan, place }, hostQueue, {
          checked: checked?.includes(store) ?? false,
        });
        Object.assign(entry, { ok: true, note: `restored to ${result.restored.reachedTime ?? plan.reaches.time}` });
      } finally {
        await CancellationScope.nonCancellable(() =>
          steps.run(`discard:${store}`, `Remove the restored ${store}`, () =>
            onHost(hostQueue).discardRestore({ application, store, place }),
          ),
        );
      }
    } catch (error) {
      entry.note = reasonOf(error);
    }
    stores.push({ ...entry, seconds: (Date.now() - startedAt) / 1_000 });
  }

  const broken = stores.filter((each) => !each.ok);
  await telling(application).notify({
    id: `drill:${workflowInfo().workflowId}:${workflowInfo().runId}`,
    application,
    severity: broken.length > 0 ? 'critical' : 'info',
    title: broken.length > 0 ? `drill failed for ${broken.map(({ store }) => store).join(', ')}` : 'drill completed',
    lines: stores.map(({ store, note, seconds }) => `${store}: ${note} (${Math.round(seconds)} s)`),
    at: new Date().toISOString(),
    fields: { requested_by: requestedBy },
  });
  const outcome = broken.length > 0 ? 'completed with failures' : 'completed';
  const { workflowId, runId } = workflowInfo();
  await leaveReport(
    steps,
    copyReport({
      ...{ kind: 'drill', workflowId, runId, application, requestedBy, outcome },
      verdict: broken.length > 0 ? 'failed' : 'achieved',
      because: `${stores.length - broken.length} of ${stores.length} stores were restored from the repository alone and read completely`,
      decisions: null,
      stores: described.stores.map(({ name, engine }) => ({ store: name, engine })),
      steps: steps.steps,
      warnings: broken.map(({ store, note }) => `${store}: ${note}`),
      messages: steps.messages,
      startedAt: steps.startedAt,
      endedAt: new Date().toISOString(),
    }),
  );
  steps.finish(outcome);
  return { application, stores };
}
