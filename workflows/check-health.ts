import {
  afterTelling,
  type HealthNews,
  type KeptHealth,
  NEVER_TOLD,
  newsOf,
  type ToldStore,
} from '../core/monitoring/told';
import type { CheckHealthInput, CheckHealthResult, StoreHealth } from '../core/runs';
import { anywhere, telling } from './proxies';
import { StepTable } from './step-table';

/**
 * Judges every store by what is in the repository, and tells people when one is not healthy: when a trouble has lasted its time,
 * when it changes, again after a configured time, and when it is over. Any site can do it: it matters most while the active
 * one is down.
 */
export async function checkHealth({ application }: CheckHealthInput): Promise<CheckHealthResult> {
  const steps = new StepTable('health', application);
  const result = await steps.run(
    'check',
    'Judge every store',
    () => anywhere(application).checkStores({ application }),
    ({ stores, problems = [] }) =>
      [
        stores.map(({ store, status }) => `${store} ${status}`).join(', '),
        ...stores.flatMap((store) => store.problems.map((problem) => `to mend: ${problem}`)),
        ...problems,
      ].join('; '),
  );
  await steps.run(
    'metrics',
    'Publish the state of every store',
    () => telling(application).publishHealth(result),
    (problems) => problems.join('; ') || 'published',
  );
  await tellAndKeep(steps, result);
  steps.finish('completed');
  return result;
}

/** News and notes never change the result: what fails here is in the steps. */
async function tellAndKeep(steps: StepTable, result: CheckHealthResult): Promise<void> {
  const { application, at } = result;
  const last = await steps.attempt('last', 'Read what people were told last', () =>
    telling(application).lastHealth({ application }),
  );
  if (last?.problem) steps.say(last.problem);
  const isKnown = last !== null && last.problem === undefined;
  const told: Record<string, ToldStore> = {};
  for (const health of result.stores) {
    const before = last?.kept?.told[health.store] ?? NEVER_TOLD;
    // Where nobody knows since when it lasts, it is told at once, and once an hour: silence would look like health.
    const { since, news } = newsOf(isKnown ? health : atOnce(health), before, at, last?.repeatAfterSeconds ?? 0);
    const undelivered = news && (await tell(steps, result, health, news, isKnown ? at : at.slice(0, 13)));
    told[health.store] = { since, last: news ? afterTelling(before, news, at, undelivered) : before.last };
  }
  // Without what was told before, what is kept would have people told again of what they know: the next check finds it.
  const kept: KeptHealth = { result, told };
  if (last) {
    await steps.attempt('keep', 'Keep the result', () => telling(application).keepHealth({ application, kept }));
  }
}

const atOnce = (health: StoreHealth): StoreHealth => ({
  ...health,
  reasons: health.reasons.map((reason) => ({ ...reason, forSeconds: 0 })),
});

/** The channels that did not take it; null where there is none that did. */
async function tell(
  steps: StepTable,
  { application, at }: CheckHealthResult,
  { store, status, problems }: StoreHealth,
  { what, severity, reasons, channels }: HealthNews,
  when: string,
): Promise<string[] | null> {
  const isOver = what === 'relief';
  const deliveries = await steps.attempt(`tell:${store}`, `Tell people about ${store}`, () =>
    telling(application).notify({
      // The same for every try of the same news, so that channels that can drop a repetition do.
      id: `health:${application}:${store}:${isOver ? 'healthy' : reasons.map(({ alert }) => alert).join('+')}:${when}`,
      application,
      severity: isOver ? 'info' : severity,
      concerns: severity,
      title: isOver ? `${store}: healthy again` : `${store}: ${status}`,
      lines: isOver
        ? ['What people were told of is over.']
        : [
            ...reasons.map(({ text }) => text),
            ...problems.map((problem) => `to mend: ${problem}`),
            'See: drctl status',
          ],
      at,
      fields: { backup_type: store, status },
      ...(channels ? { channels } : {}),
    }),
  );
  if (deliveries === null) return null;
  const missed = deliveries.filter(({ delivered }) => !delivered);
  for (const { channel, problem } of missed) steps.say(`${channel} did not take the news of ${store}: ${problem}`);
  return missed.length > 0 && missed.length === deliveries.length ? null : missed.map(({ channel }) => channel);
}
