import { workflowInfo } from '@temporalio/workflow';
import { reasonOf } from '../../core/errors';
import type { VerifiedStore, VerifyStoresInput } from '../../core/verify-runs';
import { telling } from '../proxies';
import { type StepTable, wasCancelled } from '../step-table';

/** Lines of one notification: a phone shows no more, and the proof has all of them. */
const LINES_TOLD = 12;

/** Every damaged object by its name, with what it takes away. Channels that are down change no result. */
export async function tellDamage(
  steps: StepTable,
  input: VerifyStoresInput,
  stores: readonly VerifiedStore[],
): Promise<void> {
  const { application, kind } = input;
  const bad = stores.filter(
    ({ result, findings }) => result === 'failed' || findings.some(({ severity }) => severity === 'damage'),
  );
  if (bad.length === 0) return;
  const lines = bad.flatMap(({ store, problem, findings }) => [
    ...(problem === null ? [] : [`${store}: ${problem}`]),
    ...findings
      .filter(({ severity }) => severity === 'damage')
      .map(({ key, problem: what, consequence }) => `${store}: ${key}: ${what}; ${consequence}`),
  ]);
  const left = lines.length - LINES_TOLD;
  try {
    await steps.run('tell', 'Tell people', () =>
      telling(application).notify({
        id: `verify:${workflowInfo().workflowId}:${workflowInfo().runId}`,
        application,
        severity: 'critical',
        title: `Verification (${kind}) failed: ${bad.map(({ store }) => store).join(', ')}`,
        lines: [
          ...lines.slice(0, LINES_TOLD),
          ...(left > 0 ? [`and ${left} more`] : []),
          'See what was found and what can still be restored with: drctl proofs show <proof>',
        ],
        at: new Date().toISOString(),
        fields: { kind: 'verify', depth: kind, stores: bad.map(({ store }) => store).join(',') },
      }),
    );
  } catch (error) {
    if (wasCancelled(error)) throw error;
    steps.say(`nobody could be told: ${reasonOf(error)}`);
  }
}
