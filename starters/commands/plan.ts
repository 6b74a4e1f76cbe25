import type { Front } from '../front';
import { planFailoverTo, planLines } from '../plan';

interface Options {
  to?: string;
}

export function registerPlan(front: Front): void {
  const group = front.group('plan', 'what a role change would do, step by step, before anybody starts one');

  front
    .command<Options>(
      group,
      'failover',
      'the steps of a failover: what each does, what runs side by side, how long it took before, what undoes it',
      [['drctl plan failover', 'to the other site']],
      async (session, _, { to }) => {
        const plan = await planFailoverTo(session, to ?? null);
        session.print({ plan }, () => planLines(plan));
      },
    )
    .option('--to <site>', 'the site that would take over (default: the only other one)');
}
