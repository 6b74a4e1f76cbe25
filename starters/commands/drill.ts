import { DRILL_STAGES, type DrillStage } from '../../core/drill';
import { failure } from '../../core/errors';
import { abortDrill, drillPlan, listDrills, planLines, runDrill, showDrill } from '../drill';
import type { Front } from '../front';
import { detachOption, followOption, limitOption, reasonOption } from '../options';

interface RunOptions {
  without?: string[];
  reason?: string;
  yes?: boolean;
  detach?: boolean;
}

const WITHOUT = '--without <stages...>';
const WITHOUT_TEXT = `stages to leave out: ${DRILL_STAGES.join(', ')}`;

export function registerDrill(front: Front): void {
  const group = front.group('drill', 'the monthly test in isolation: backups, recovery, a name, services, speed');

  front
    .command<RunOptions>(
      group,
      'run',
      'show the plan, ask, and hold a drill; production is not touched, and everything is taken away at the end',
      [
        ['drctl drill run', 'show the plan and ask'],
        ['drctl drill run --yes --without validator', 'without killing anything'],
      ],
      (session, _, { without, reason, yes, detach }) =>
        runDrill(session, {
          without: stagesOf(without ?? []),
          reason: reason ?? null,
          approved: yes ?? false,
          detach: detach ?? false,
        }),
    )
    .option(WITHOUT, WITHOUT_TEXT)
    .addOption(reasonOption())
    .option('-y, --yes', 'do not ask')
    .addOption(detachOption());

  front
    .command<RunOptions>(
      group,
      'plan',
      'what a drill would do, and what it would have to leave out; starts nothing',
      [['drctl drill plan', 'stage by stage']],
      async (session, _, { without }) => {
        const plan = await drillPlan(session, stagesOf(without ?? []));
        session.print(plan, () => [...planLines(plan), 'Nothing was started.']);
      },
    )
    .option(WITHOUT, WITHOUT_TEXT);

  front
    .command<{ limit: string }>(
      group,
      'list',
      'the drills that were held, newest first',
      [['drctl drill list', 'with their outcome']],
      (session, _, { limit }) => listDrills(session, Number(limit)),
    )
    .addOption(limitOption('at most this many'));

  front
    .command<{ follow?: boolean }>(
      group,
      'show [id]',
      'the drill that runs, else the report of the newest, or of the one named',
      [
        ['drctl drill show', 'where it stands, or how the last one ended'],
        ['drctl drill show --follow', 'until the one that runs has ended'],
      ],
      (session, [id], { follow }) => showDrill(session, id ?? null, follow ?? false),
    )
    .addOption(followOption());

  front
    .command<{ by?: string; reason: string }>(
      group,
      'abort',
      'end the drill that runs; what it has made is taken away first',
      [['drctl drill abort --reason "the disk is needed"', 'in your name']],
      (session, _, { by, reason }) => abortDrill(session, by ?? session.io.user, reason),
    )
    .option('--by <name>', 'the person who ends it (default: you)')
    .addOption(reasonOption().makeOptionMandatory());
}

function stagesOf(named: readonly string[]): DrillStage[] {
  return named
    .flatMap((each) => each.split(','))
    .map((name) => {
      const stage = DRILL_STAGES.find((known) => known === name);
      if (stage) return stage;
      throw failure('UsageInvalid', `there is no stage "${name}"; there are: ${DRILL_STAGES.join(', ')}`);
    });
}
