import { ScheduleOverlapPolicy } from '@temporalio/client';
import type { Front } from '../front';
import { applySchedules, changeLines, eachSchedule, listSchedules, scheduleLines } from '../schedules';

export function registerSchedules(front: Front): void {
  const group = front.group('schedules', 'keep what runs by the clock as the config says');

  front
    .command<{ dryRun?: boolean }>(
      group,
      'apply',
      'make Temporal hold the schedules of the config, and start what follows logs and replicas',
      [
        ['drctl schedules apply --dry-run', 'what would change'],
        ['drctl schedules apply', 'change it; may be repeated'],
      ],
      async (session, _, { dryRun = false }) => {
        const changes = await applySchedules(session, dryRun);
        session.print(changes, () => changeLines(changes, dryRun));
      },
    )
    .option('--dry-run', 'show the difference and change nothing');

  front.command(group, 'list', 'each schedule, when it runs next and whether it is paused', [], async (session) => {
    const schedules = await listSchedules(session);
    session.print(schedules, () => scheduleLines(schedules, session.io.now()));
  });

  const said = (what: string) => (names: readonly string[]) => names.map((name) => `${name}: ${what}`);
  const names = '[names...]';

  front
    .command<{ reason?: string }>(
      group,
      `pause ${names}`,
      'hold schedules (all when none is named) until they are resumed',
      [['drctl schedules pause full --reason "migration tonight"', 'one of them']],
      async (session, named, { reason }) => {
        const note = `paused by ${session.io.user}${reason ? `: ${reason}` : ''}`;
        const done = await eachSchedule(session, named, (handle) => handle.pause(note));
        session.print(done, () => said('paused')(done));
      },
    )
    .option('--reason <text>', 'why; it is shown in the list');

  front.command(
    group,
    `resume ${names}`,
    'let held schedules go on (all when none is named)',
    [],
    async (session, named) => {
      const done = await eachSchedule(session, named, (handle) => handle.unpause(`resumed by ${session.io.user}`));
      session.print(done, () => said('resumed')(done));
    },
  );

  front.command(
    group,
    'trigger <names...>',
    'run schedules now, besides their times; skipped where the run before has not ended',
    [['drctl schedules trigger full', 'the daily full backup, now']],
    async (session, named) => {
      const done = await eachSchedule(session, named, (handle) => handle.trigger(ScheduleOverlapPolicy.SKIP));
      session.print(done, () => [...said('triggered')(done), 'See it with: drctl runs list']);
    },
  );
}
