import type { Front } from '../front';
import { planFailoverTo, planLines } from '../plan';
import { checkReadinessFor } from '../readiness';

interface Options {
  to?: string;
  dryRun?: boolean;
}

export function registerPlan(front: Front): void {
  const group = front.group('plan', 'what a role change would do, step by step, before anybody starts one');

  front
    .command<Options>(
      group,
      'failover',
      'the steps of a failover: what each does, what runs side by side, how long it took before, what undoes it',
      [
        ['drctl plan failover', 'to the other site'],
        [
          'drctl plan failover --dry-run',
          'what would fail today: looks at everything from the other site, changes nothing',
        ],
      ],
      async (session, _, { to, dryRun }) => {
        const plan = await planFailoverTo(session, to ?? null);
        if (dryRun) return checkReadinessFor(session, plan);
        session.print({ plan, readiness: null }, () => planLines(plan));
        return 0;
      },
    )
    .option('--to <site>', 'the site that would take over (default: the only other one)')
    .option('--dry-run', 'also carry out every check that changes nothing, by the worker of that site');
}
