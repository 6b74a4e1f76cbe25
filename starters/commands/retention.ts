import { parseDurationMilliseconds } from '../../core/clock';
import { failure } from '../../core/errors';
import { copiesNamed } from '../copies';
import { workflowIds } from '../../core/names';
import type { Front } from '../front';
import { putHold } from '../hold';
import { expiresAt } from '../lifecycle';
import { detachOption, reasonOption } from '../options';
import { planLines, planRetention, startRetention, storeOf } from '../retention';
import { sendCommand } from '../send-command';

interface ApplyOptions {
  readonly maxDeleteShare?: number;
  readonly grace?: number;
  readonly detach?: boolean;
}

export function registerRetention(front: Front): void {
  const group = front.group('retention', 'see and delete what is not kept any more, and hold what must stay');

  front
    .command<{ deletable?: boolean; copy?: string }>(
      group,
      'plan [stores...]',
      'what each backup and piece of log is kept for, or since when nothing needs it; changes nothing',
      [
        ['drctl retention plan', 'every store'],
        ['drctl retention plan orders-db --deletable', 'only what would go now'],
        ['drctl retention plan --copy offsite', 'the same of a copy, which goes by its own'],
      ],
      async (session, named, { deletable = false, copy }) => {
        const stores = session.stores(named, named.length === 0);
        const copied = copy === undefined ? stores : copiesNamed(session, stores, copy).map(({ store }) => store);
        const plans = await planRetention(session, copied, copy);
        session.print(plans, () => planLines(plans, deletable));
      },
    )
    .option('--deletable', 'only what would go')
    .option('--copy <repository>', 'of the copy there');

  front
    .command<ApplyOptions>(
      group,
      'apply [stores...]',
      'mark what nothing needs, wait out the grace, delete it',
      [
        ['drctl retention apply', 'every store; aborted with `drctl retention abort` until the grace is over'],
        ['drctl retention apply orders-db --grace 0s', 'at once'],
        ['drctl retention apply orders-db --max-delete-share 0.9', 'more than the config allows a run'],
      ],
      (session, named, { maxDeleteShare, grace, detach = false }) =>
        startRetention(session, {
          stores: session.stores(named, named.length === 0),
          detach,
          ...(maxDeleteShare === undefined ? {} : { maxDeleteShare }),
          ...(grace === undefined ? {} : { graceSeconds: grace }),
        }),
    )
    .option('--grace <duration>', 'instead of retention.grace', graceOf)
    .option('--max-delete-share <share>', 'instead of retention.maxDeleteShare, from 0 to 1', shareOf)
    .addOption(detachOption());

  front
    .command<{ reason: string }>(
      group,
      'abort',
      'end the run that waits out its grace; nothing is deleted',
      [['drctl retention abort --reason "the audit needs last year"', 'before it deletes']],
      async (session, _, { reason }) => {
        const workflowId = workflowIds.retention(session.application);
        const delivery = await sendCommand(session, workflowId, 'abort', { by: session.io.user, reason });
        session.print({ workflowId, delivery }, () => [`${workflowId}: abort ${delivery}.`]);
      },
    )
    .addOption(reasonOption().makeOptionMandatory());

  front
    .command<{ reason: string }>(
      group,
      'hold <backup>',
      'keep a backup, and all that it needs, until it is released',
      [
        [
          'drctl retention hold 20261122T020000Z-full-1a2b3c4d --reason "before the migration"',
          'whatever the policy says',
        ],
      ],
      async (session, [backupId = ''], { reason }) => {
        const store = await storeOf(session, backupId);
        const hold = { store, backupId, by: session.io.user, reason, at: session.io.now().toISOString() };
        await putHold(session, hold);
        session.print(hold, () => [`${backupId} of ${store} is held: ${reason}`]);
        const expires = expiresAt(await session.open(), store, backupId);
        if (expires === null) return;
        session.io.note(
          `Note: S3 knows no holds: lifecycle.expireAfter deletes it on ${expires.toISOString().slice(0, 10)} all the same.`,
        );
      },
    )
    .addOption(reasonOption().makeOptionMandatory());

  front
    .command<{ reason: string }>(
      group,
      'release <backup>',
      'let the policy decide again about a backup that is held',
      [['drctl retention release 20261122T020000Z-full-1a2b3c4d --reason "migrated"', 'both are kept on record']],
      async (session, [backupId = ''], { reason }) => {
        const store = await storeOf(session, backupId);
        const release = { backupId, by: session.io.user, reason, at: session.io.now().toISOString() };
        const hold = await (await session.open()).retentionStore(store).release(release);
        session.print({ store, ...release, hold }, () => [
          `${backupId} of ${store} is released. It was held by ${hold.by} since ${hold.at}: ${hold.reason}`,
        ]);
      },
    )
    .addOption(reasonOption().makeOptionMandatory());
}

const graceOf = (text: string) => parseDurationMilliseconds(text) / 1_000;

function shareOf(text: string): number {
  const share = Number(text);
  if (text.trim() !== '' && share >= 0 && share <= 1) return share;
  throw failure('UsageInvalid', `--max-delete-share is "${text}"; write a number from 0 to 1`);
}
