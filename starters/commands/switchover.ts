import { failure } from '../../core/errors';
import { startFailover } from '../failover';
import type { Front } from '../front';
import { detachOption, reasonOption } from '../options';
import { registerCommands } from './failover';

export function registerSwitchover(front: Front): void {
  const group = front.group('switchover', 'move the application to its other site without losing anything');

  front
    .command<{ to: string; reason: string; yes?: boolean; by?: string; detach?: boolean }>(
      group,
      'start',
      'see that both sites are healthy, ask, and move; before the promotion everything can return to where it was',
      [
        [
          'drctl switchover start --to dr --reason "maintenance of the primary site"',
          'start it and decide on the terminal',
        ],
        ['drctl switchover start --to primary --reason "back home" --detach', 'start it; somebody else approves'],
      ],
      (session, _, { to, reason, yes, by, detach }) => {
        if (by !== undefined && !yes)
          throw failure('UsageInvalid', '--by names the approver for --yes; without it you are asked');
        const approver = yes ? (by ?? session.io.user) : null;
        return startFailover(session, { kind: 'switchover', toSite: to, reason, approver, detach: detach ?? false });
      },
    )
    .requiredOption('--to <site>', 'the site that takes over')
    .addOption(reasonOption().makeOptionMandatory())
    .option('-y, --yes', 'approve it without asking')
    .option('--by <name>', 'with --yes: the approver (default: you)')
    .addOption(detachOption());

  registerCommands(front, group, 'switchover');
}
