import type { RoleChangeKind } from '../../core/runs';
import type { Front } from '../front';
import { planLines, planRoleChange } from '../plan';
import { checkReadinessFor } from '../readiness';

interface Options {
  to?: string;
  dryRun?: boolean;
}

/** What each kind looks at besides its steps when somebody asks for a dry run. */
const LOOKS: Readonly<Record<RoleChangeKind, string>> = {
  failover: 'what would fail today: looks at everything from the other site, changes nothing',
  switchover: 'what would fail today: looks at both sites and at how far the standbys are behind, changes nothing',
};

export function registerPlan(front: Front): void {
  const group = front.group('plan', 'what a role change would do, step by step, before anybody starts one');
  for (const kind of ['failover', 'switchover'] as const) {
    front
      .command<Options>(
        group,
        kind,
        `the steps of a ${kind}: what each does, what runs side by side, how long it took before, what undoes it`,
        [
          [`drctl plan ${kind}`, 'to the other site'],
          [`drctl plan ${kind} --dry-run`, LOOKS[kind]],
        ],
        async (session, _, { to, dryRun }) => {
          const plan = await planRoleChange(session, kind, to ?? null);
          if (dryRun) return checkReadinessFor(session, plan);
          session.print({ plan, readiness: null }, () => [...planLines(plan), 'What would fail today: add --dry-run']);
          return 0;
        },
      )
      .option('--to <site>', 'the site that would take over (default: the only other one)')
      .option('--dry-run', 'also carry out every check that changes nothing, by the worker of that site');
  }
}
