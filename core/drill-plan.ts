import type { Application } from './application';
import { formatDuration } from './clock';
import { DRILL_STAGES, type DrillStage, type DrillTarget, STAGE_TITLES } from './drill';

export interface PlannedStage {
  readonly stage: DrillStage;
  readonly title: string;
  /** Null: it will be held. */
  readonly leftOut: string | null;
  readonly does: readonly string[];
}

export interface DrillPlan {
  readonly application: string;
  /** Where it is held. */
  readonly site: string;
  readonly stages: readonly PlannedStage[];
  /** What is killed, named one by one: nothing else ever is. */
  readonly kills: readonly string[];
  /** What of production it touches; empty unless the config names a target there. */
  readonly touches: readonly string[];
}

/** What a drill would do. Pure: the same for the command line and for the run. */
export function planDrill(
  app: Application,
  { site, without }: { readonly site: string; readonly without: readonly DrillStage[] },
): DrillPlan {
  const all: Readonly<Record<DrillStage, Omit<PlannedStage, 'stage' | 'title'>>> = {
    integrity: held('of each store, reads a backup that chance chooses, with its chain and its log, completely'),
    recovery: held(
      `restores ${app.stores.map(({ name }) => name).join(', ')} at ${site} to one instant that chance chooses, one after the other`,
      'reads all of each, and runs the checks of the config',
    ),
    network: networkOf(app),
    application: applicationOf(app),
    performance: performanceOf(app),
    validator: validatorOf(app),
  };
  const isDecided = (stage: DrillStage) => app.drill.without.includes(stage);
  const isLeftOut = (stage: DrillStage) => isDecided(stage) || without.includes(stage);
  return {
    application: app.name,
    site,
    stages: DRILL_STAGES.map((stage) => ({
      stage,
      title: STAGE_TITLES[stage],
      ...(isLeftOut(stage)
        ? leftOut(isDecided(stage) ? 'the config leaves it out' : 'it was asked to be left out')
        : all[stage]),
    })),
    kills: isLeftOut('validator') ? [] : app.drill.targets.map(targetText),
    touches: isLeftOut('validator') ? [] : app.drill.targets.filter((each) => each.site !== null).map(targetText),
  };
}

const held = (...does: readonly string[]) => ({ leftOut: null, does });
const leftOut = (why: string) => ({ leftOut: why, does: [] });

function networkOf({ drill: { name }, failover }: Application) {
  if (!name) return leftOut('the config has no `drill.name`');
  const limit = formatDuration(failover.dnsPropagationSeconds * 1_000);
  return held(
    `makes ${name.name} with ${name.before.join(', ')}, which stands for the lost site`,
    `moves it to ${name.values.join(', ')}, and waits until every name server answers so (${limit})`,
  );
}

function applicationOf({ drill: { bubble, name }, endpoints }: Application) {
  if (!bubble) return leftOut('the config has no `drill.bubble`');
  const services = bubble.groups.flatMap((group) => group.services.map((each) => each.name));
  return held(
    'opens the bubble, with a way to the restored copies alone',
    'proves it: connections to every store and public address of production have to fail',
    `starts ${services.join(', ')} in it`,
    ...(name && endpoints.length > 0
      ? [`requests ${endpoints.map(({ url }) => url).join(', ')} under ${name.name}`]
      : []),
  );
}

function performanceOf({ drill: { bubble, name, performance }, endpoints }: Application) {
  if (!bubble || !name || endpoints.length === 0)
    return leftOut('it needs `endpoints`, `drill.bubble` and `drill.name` in the config');
  const { requests, concurrency, p95Milliseconds, slowerBy } = performance;
  const limit = p95Milliseconds === null ? '' : `; limit ${p95Milliseconds} ms`;
  return held(
    `requests each endpoint ${requests} times, ${concurrency} at a time${limit}`,
    `fails one whose p95 is more than ${slowerBy} times that of earlier drills`,
  );
}

function validatorOf({ drill: { targets, recoveryWithinSeconds } }: Application) {
  if (targets.length === 0) return leftOut('the config names no `drill.targets`');
  const limit = formatDuration(recoveryWithinSeconds * 1_000);
  return held(...targets.map((each) => `kills ${targetText(each)}; healthy again within ${limit}`));
}

/** `orders-db: the drill's own copy`. */
function targetText({ name, store, service, site, evenActive }: DrillTarget): string {
  const what = store ?? service;
  if (site === null) return `${name}: the drill's own ${store === null ? `${what} in the bubble` : `copy of ${what}`}`;
  return `${name}: ${what} at ${site}${evenActive ? ', even where that is active' : ', unless that is active'}`;
}
