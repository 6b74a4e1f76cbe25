import { FAILURES } from '../../core/failure-classes';
import type { Front } from '../front';
import { applyPlans, planLines, plansOf, showLifecycle, showLines } from '../lifecycle';

export function registerLifecycle(front: Front): void {
  const group = front.group('lifecycle', 'the rules by which S3 moves old backups to cheaper storage classes');

  front.command(
    group,
    'show [repositories...]',
    'the rules that the buckets of the backups have now',
    [['drctl lifecycle show', 'every bucket, the rules of others included']],
    async (session, named) => {
      const buckets = await showLifecycle(session, named);
      session.print(buckets, () => showLines(buckets));
    },
  );

  front.command(
    group,
    'plan [repositories...]',
    'what the config comes to, what would change, and what speaks against it; changes nothing',
    [['drctl lifecycle plan', 'exit 47 where the rules would tear a chain or freeze what is promised at once']],
    async (session, named) => {
      const plans = await plansOf(session, named);
      session.print(plans, () => planLines(plans, false));
      return plans.some(({ problems }) => problems.length > 0) ? FAILURES.LifecycleRefused.exitCode : 0;
    },
  );

  front.command(
    group,
    'apply [repositories...]',
    'make the buckets hold the rules of the config; rules of others stay as they are',
    [['drctl lifecycle apply', 'may be repeated; refuses what `plan` warns of']],
    async (session, named) => {
      const plans = await applyPlans(session, named);
      session.print(plans, () => planLines(plans, true));
    },
  );
}
