import type { Command } from 'commander';
import { failure } from '../../core/errors';
import type { commands, RoleChangeKind } from '../../core/runs';
import { followFailover, showFailover, startFailover, tell } from '../failover';
import type { Front } from '../front';
import { detachOption, followOption, reasonOption } from '../options';
import { showReport } from '../reports';

/** The commands to a failover that runs, with whether a reason is wanted. */
const COMMANDS: readonly (readonly [keyof typeof commands, string, boolean])[] = [
  ['approve', 'approve it as a named person, with the loss that its card shows', false],
  ['reject', 'reject it; nothing is changed', true],
  ['abort', 'stop it: before the promotion everything is undone, after it there is only the way forward', true],
  ['pause', 'hold it before its next step', false],
  ['resume', 'let a held one go on', false],
  ['retry', 'try the step again that waits for a person', false],
  ['skip', 'leave out the step that waits for a person', true],
  ['attest', 'vouch, as a named person, that the old site is dead, where no fence can prove it', true],
  ['force', 'attest, as a named person, that what is left of a store without a majority shall go on alone', true],
];

export function registerFailover(front: Front): void {
  const group = front.group('failover', 'move the application to another site');

  front
    .command<{ to: string; reason: string; yes?: boolean; by?: string; detach?: boolean }>(
      group,
      'start',
      'confirm that the active site is down, show what would be lost, ask, and move',
      [
        ['drctl failover start --to dr --reason "primary site lost power"', 'start it and decide on the terminal'],
        ['drctl failover start --to dr --reason drill --detach', 'start it; somebody else approves'],
      ],
      (session, _, { to, reason, yes, by, detach }) => {
        if (by !== undefined && !yes)
          throw failure('UsageInvalid', '--by names the approver for --yes; without it you are asked');
        return startFailover(session, {
          kind: 'failover',
          toSite: to,
          reason,
          approver: yes ? (by ?? session.io.user) : null,
          detach: detach ?? false,
        });
      },
    )
    .requiredOption('--to <site>', 'the site that takes over')
    .addOption(reasonOption().makeOptionMandatory())
    .option('-y, --yes', 'approve whatever loss is measured, without asking')
    .option('--by <name>', 'with --yes: the approver (default: you)')
    .addOption(detachOption());

  registerCommands(front, group, 'failover');
}

/** What people say to a role change that runs, whatever its kind: looking, deciding, and its report afterwards. */
export function registerCommands(front: Front, group: Command, kind: RoleChangeKind): void {
  front
    .command<{ follow?: boolean }>(
      group,
      'status',
      'its steps, and what it waits for',
      [
        [`drctl ${kind} status`, 'once'],
        [`drctl ${kind} status --follow`, 'until it ends, and decide when it asks'],
      ],
      (session, _, { follow }) => (follow ? followFailover(session, kind, null) : showFailover(session, kind)),
    )
    .addOption(followOption());

  for (const [name, description, needsReason] of COMMANDS) {
    if (name === 'force' && kind !== 'failover') continue; // nothing of a planned move is forced
    const command = front
      .command<{ by?: string; reason?: string; step?: string }>(
        group,
        name,
        description,
        [[`drctl ${kind} ${name} --by dana${needsReason ? ' --reason "…"' : ''}`, 'in the name of dana']],
        (session, _, { by, reason, step }) =>
          tell(session, name, { by: by ?? session.io.user, ...(reason ? { reason } : {}), ...(step ? { step } : {}) }),
      )
      .option('--by <name>', 'the person who decides (default: you)');
    command.addOption(reasonOption().makeOptionMandatory(needsReason));
    if (name === 'retry' || name === 'skip')
      command.option('--step <id>', 'which step, where several wait for a decision');
  }

  front.command(
    group,
    'report [id]',
    `the report of the newest ${kind}, or of the one named`,
    [[`drctl ${kind} report`, 'what was done, by whom, how long it took']],
    (session, [id]) => showReport(session, { id: id ?? null, kind }),
  );
}
