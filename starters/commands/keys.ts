import type { DataKeyRecord } from '../../core/data-keys';
import { FAILURES } from '../../core/failure-classes';
import type { Front } from '../front';
import {
  agreed,
  changesNothing,
  createdLines,
  dataKeysOf,
  keyLines,
  recipientLines,
  rotationLines,
  storedKeys,
  warningLines,
} from '../keys';
import { tableLines } from '../table';

const YES = ['--yes', 'do not ask; needed where there is no terminal'] as const;

export function registerKeys(front: Front): void {
  const group = front.group('keys', 'the data keys that backups are encrypted with, and who can unwrap them');

  front.command(
    group,
    'list',
    'each data key, who can unwrap it and where it is stored',
    [['drctl keys list', 'nothing is unwrapped']],
    async (session) => {
      const keys = await dataKeysOf(session);
      const stored = await keys.list();
      session.print({ activeKeyId: keys.activeKeyId, keys: stored }, () => keyLines(stored, keys));
    },
  );

  front.command(
    group,
    'check [keys...]',
    'unwrap each data key with each recipient of the config, here and now',
    [['drctl keys check', 'on a worker: can it restore? with the break-glass key: does that still work?']],
    async (session, named) => {
      const keys = await dataKeysOf(session);
      const stored = await storedKeys(keys, named);
      const checks = await Promise.all(
        stored.map(async ({ keyId }) => ({ keyId, recipients: await keys.check(keyId) })),
      );
      const rows = checks.flatMap(({ keyId, recipients }) =>
        recipients.map(({ recipient, kind, problem }) => [keyId, recipient, kind, problem ?? 'unwraps']),
      );
      const whole = stored.every((each) => changesNothingInPlaces(each));
      session.print(checks, () => [
        ...(rows.length === 0 ? keyLines(stored, keys) : tableLines(['data key', 'recipient', 'kind', 'here'], rows)),
        ...(whole ? [] : ['', ...keyLines(stored, keys)]),
      ]);
      const lost =
        keys.activeKeyId !== null && named.length === 0 && !stored.some((each) => each.keyId === keys.activeKeyId);
      const closed = checks.some(({ recipients }) => recipients.every(({ problem }) => problem !== null));
      return lost || closed || !whole ? FAILURES.KeyUnavailable.exitCode : 0;
    },
  );

  front
    .command<{ yes?: boolean }>(
      group,
      'create',
      'make a data key and store it, wrapped for every recipient of the config',
      [['drctl keys create', 'shows for whom and where, asks, then says what to put into the config']],
      async (session, _, { yes = false }) => {
        const keys = await dataKeysOf(session);
        const recipients = keys.recipients();
        const { io, config } = session;
        io.note(`A new data key of ${session.application}, wrapped for`);
        for (const line of [...recipientLines(recipients), ...warningLines(recipients)]) io.note(line);
        io.note(`stored in ${keys.repositories.join(', ')} as keys/<id>.json`);
        if (!(await agreed(session, 'Make it?', yes))) return session.print(null, () => ['Nothing was changed.']);
        const created = await keys.create(io.user, io.now());
        session.print(created, () => createdLines(created, config.file, keys.activeKeyId));
      },
    )
    .option(...YES);

  front
    .command<{ yes?: boolean; dryRun?: boolean }>(
      group,
      'rotate [keys...]',
      'wrap the data keys for exactly the recipients of the config; what they encrypted stays as it is',
      [
        ['drctl keys rotate --dry-run', 'who would be added and removed'],
        ['drctl keys rotate', 'after recipients were changed in the config; also stores keys where they are missing'],
      ],
      async (session, named, { yes = false, dryRun = false }) => {
        const keys = await dataKeysOf(session);
        const { io } = session;
        const plans = (await storedKeys(keys, named)).map((each) => keys.planRotation(each));
        const wanted = plans.filter((plan) => !changesNothing(plan));
        if (dryRun || wanted.length === 0)
          return session.print(plans, () => [...rotationLines(plans), 'Nothing was changed.']);
        for (const line of [...rotationLines(wanted), ...warningLines(keys.recipients())]) io.note(line);
        if (!(await agreed(session, 'Do this?', yes))) return session.print(null, () => ['Nothing was changed.']);
        const written: DataKeyRecord[] = [];
        for (const plan of wanted) written.push(await keys.rotate(plan, io.user, io.now()));
        session.print(written, () => written.map(({ keyId, revision }) => `${keyId} is at revision ${revision}.`));
      },
    )
    .option(...YES)
    .option('--dry-run', 'show the plan and change nothing');
}

/** Every repository has the newest revision, and can read what it has. */
function changesNothingInPlaces({ record, stored }: Awaited<ReturnType<typeof storedKeys>>[number]): boolean {
  return stored.every(({ revision, problems }) => revision === record?.revision && problems.length === 0);
}
