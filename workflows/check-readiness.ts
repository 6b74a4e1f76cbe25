import type { ApplicationState } from '../activities/application';
import type { Application } from '../core/application';
import { failure, reasonOf } from '../core/errors';
import type { Notification, Severity } from '../core/notify';
import {
  alarming,
  alarmingIds,
  check,
  type KeptReadiness,
  type ReadinessCheck,
  type ReadinessResult,
  type ReadinessState,
  readinessScore,
  verdictOf,
  whatToTell,
} from '../core/readiness';
import type { CheckReadinessInput } from '../core/runs';
import { lookingFrom, telling } from './proxies';
import { StepTable, wasCancelled } from './step-table';

type Place = Pick<CheckReadinessInput, 'application' | 'planned'> & {
  readonly fromSite: string;
  readonly toSite: string;
};

/**
 * Looks, from the site that would take over, for everything that a failover needs there, and changes nothing: what would
 * fail on the day is found today. Health asks whether the data are safe; this asks whether the service could move.
 */
export async function checkReadiness(input: CheckReadinessInput): Promise<ReadinessResult> {
  const { application } = input;
  const steps = new StepTable('readiness', application);
  const { application: app, activeSite: fromSite } = await describe(input);
  const toSite = input.toSite ?? app.sites.find((site) => site !== fromSite);
  if (toSite === undefined) throw failure('ConfigInvalid', `${application} has no site besides ${fromSite}`);
  if (toSite === fromSite)
    throw failure('RoleMismatch', `${toSite} is the active site of ${application}: nothing would be moved there`);

  steps.enter('looking');
  const place = { application, fromSite, toSite, ...(input.planned ? { planned: true as const } : {}) };
  const checks = [
    ...(await lookFrom(steps, place, app)),
    ...(input.planned ? await lookAtBoth(steps, place, app) : []),
  ];
  const at = new Date().toISOString();
  const [verdict, score] = [verdictOf(checks), readinessScore(checks)];
  const result: ReadinessResult = { application, fromSite, toSite, at, verdict, score, checks };
  // What is kept, and told of when it changes, is whether a failover would succeed.
  if (!input.planned) await tellAndKeep(steps, result, input.tell);
  steps.finish(`${verdict}, ${score} of 100`);
  return result;
}

/** Without the epochs nobody knows which site is active, and a failover could not begin: people hear of that as well. */
async function describe({ application, tell }: CheckReadinessInput): Promise<ApplicationState> {
  try {
    return await telling(application).describeApplication({ application });
  } catch (error) {
    if (wasCancelled(error)) throw error;
    const at = new Date().toISOString();
    const news: Notification = {
      id: `readiness:${application}:unseen:${at.slice(0, 10)}`,
      application,
      severity: 'critical',
      title: `A failover of ${application} could not begin today`,
      lines: [
        `Which site is active cannot be read: ${reasonOf(error)}`,
        'Look again with: drctl plan failover --dry-run',
      ],
      at,
      fields: { kind: 'readiness', status: 'not ready' },
    };
    if (tell) await telling(application).notify(news);
    throw error;
  }
}

/** Everything at once; a look that cannot be had is a finding too, and hides nothing that the others see. */
async function lookFrom(steps: StepTable, place: Place, app: Application): Promise<ReadinessCheck[]> {
  const { application, toSite } = place;
  const at = lookingFrom(application, toSite);
  const seen = async () => {
    await at.describeApplication({ application });
    return [check('worker', `Worker at ${toSite}`, ['ok', 'it takes work and reads the epochs', null])];
  };
  const worker = await lookAt(steps, 'worker', `See that a worker at ${toSite} takes work`, seen, [
    'failing',
    'every step of a failover is done by a worker there: start one (`drctl worker` says how)',
  ]);
  // Every other look is the same worker's: each would wait for nobody, and say so once more.
  if (alarming(worker).length > 0) return worker;
  const others = await Promise.all([
    lookAt(steps, 'stores', `Look at the standbys at ${toSite}`, () => at.checkStandbys(place)),
    lookAt(steps, 'traffic', `Look at the services at ${toSite} and at the names`, () => at.checkTraffic(place)),
    lookAt(steps, 'control', 'Look at the approvers, the fence and the repositories', () => at.checkControl(place)),
    lookAtOldHooks(steps, place, app),
  ]);
  return [...worker, ...others.flat()];
}

/** The worker of the old site is asked only where it would have something to run. Runs that began earlier know of no hooks. */
async function lookAtOldHooks(
  steps: StepTable,
  place: Place,
  { hooks = [] }: Partial<Pick<Application, 'hooks'>>,
): Promise<ReadinessCheck[]> {
  if (!hooks.some(({ at, does }) => at === 'old' && does === 'command')) return [];
  const { application, fromSite } = place;
  return lookAt(
    steps,
    'hooks',
    `Look at the hooks of ${fromSite}`,
    () => lookingFrom(application, fromSite).checkOldHooks(place),
    [place.planned ? 'failing' : 'warning', `no worker at ${fromSite} would run its hooks`],
  );
}

/** What a planned move needs besides; `switch-over.ts` asks the same before it asks people. */
async function lookAtBoth(steps: StepTable, place: Place, app: Application): Promise<ReadinessCheck[]> {
  const { application, fromSite, toSite } = place;
  const at = lookingFrom(application, toSite);
  const refuses = 'a switchover refuses to begin; a failover does not ask for it';
  const well = async () => {
    const verdict = await at.probeSite({ application, site: fromSite });
    const found = verdict.healthy ? 'every store takes writes, every endpoint answers' : verdict.findings.join('; ');
    return [
      check(
        'active-site',
        `Active site ${fromSite}`,
        verdict.healthy ? ['ok', found, null] : ['failing', found, refuses],
      ),
    ];
  };
  const withinSeconds = app.failover.switchover.maxLagSeconds;
  const close = async () => {
    const lags = await at.measureCatchUp({ ...place, withinSeconds });
    const found = lags.map(({ store, seconds }) => `${store} within ${seconds.toFixed(1)} s`).join(', ');
    return [check('catch-up', `Standbys at ${toSite} catch up`, ['ok', found || 'no store has a standby', null])];
  };
  const looks = await Promise.all([
    lookAt(steps, 'active-site', `See that ${fromSite} is healthy`, well, ['unknown', refuses]),
    lookAt(steps, 'catch-up', `See that ${toSite} is at most ${withinSeconds} s behind`, close, ['failing', refuses]),
  ]);
  return looks.flat();
}

async function lookAt(
  steps: StepTable,
  id: string,
  title: string,
  look: () => Promise<ReadinessCheck[]>,
  failed: readonly [ReadinessState, string] = ['unknown', 'what a failover would meet there is not known'],
): Promise<ReadinessCheck[]> {
  const count = (checks: readonly ReadinessCheck[]) => {
    const bad = alarming(checks);
    return bad.length === 0 ? `${checks.length} looked at` : bad.map(({ title: what }) => what).join(', ');
  };
  try {
    return await steps.run(id, title, look, count);
  } catch (error) {
    if (wasCancelled(error)) throw error;
    const [state, onTheDay] = failed;
    return [check(id, title, [state, reasonOf(error), onTheDay])];
  }
}

/** News and notes never change the result, and no site is needed for them: what fails here is in the steps. */
async function tellAndKeep(steps: StepTable, result: ReadinessResult, tell: boolean): Promise<void> {
  const { application, toSite: site, at, checks } = result;
  const noted = await steps.attempt('last', 'Read what people were told last', () =>
    telling(application).lastReadiness({ application, site }),
  );
  const last = noted?.told ?? null;
  const news = tell ? whatToTell(checks, last, at) : null;
  const told = news === null ? true : await steps.attempt('tell', 'Tell people', () => notify(result, news));
  const kept: KeptReadiness = {
    result,
    told: news !== null && told !== null ? { ids: alarmingIds(checks), at } : (last ?? { ids: [], at: null }),
  };
  await steps.attempt('keep', 'Keep the result', () => telling(application).keepReadiness({ application, site, kept }));
}

async function notify(result: ReadinessResult, news: 'alarm' | 'relief'): Promise<true> {
  const { application, fromSite, toSite, at, score, checks, verdict } = result;
  const bad = alarming(checks);
  const severity: Severity =
    news === 'relief' ? 'info' : bad.some(({ state }) => state === 'failing') ? 'critical' : 'warning';
  await telling(application).notify({
    id: `readiness:${application}:${toSite}:${alarmingIds(checks).join('+') || 'ready'}:${at.slice(0, 10)}`,
    application,
    severity,
    title:
      news === 'relief'
        ? `${application} could fail over to ${toSite} again`
        : `A failover of ${application} to ${toSite} would not succeed today`,
    lines: [
      ...bad.map(({ title, found, onTheDay }) => `${title}: ${found}. On the day: ${onTheDay ?? 'not known'}`),
      `${score} of 100 points. Look again with: drctl plan failover --dry-run`,
    ],
    at,
    fields: { kind: 'readiness', from: fromSite, to: toSite, status: verdict },
  });
  return true;
}
