import { readSamples } from '../../activities/sample-log';
import { FAILURES } from '../../core/failure-classes';
import { layout } from '../../core/layout';
import { workflowIds } from '../../core/names';
import { alarming, type ReadinessResult } from '../../core/readiness';
import type { RoleChangePlan } from '../../core/role-change-plan';
import type { ApprovalCard, FailOverResult, FailOverStatus } from '../../core/role-change-runs';
import { lossOf } from '../../lab/demo/measured';
import { compareStores } from '../../lab/demo/shop-stores';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { STORES } from '../../lab/sites/build';
import { POSTGRES_ROLES } from '../../lab/sites/postgresql';
import { testContext } from '../support/call-context';
import { E2eLab, keysOf, waitUntil } from '../support/e2e-lab';
import { countOf, seededRandom } from '../support/random';

jest.setTimeout(900_000); // a kill costs up to half a minute until it is noticed, on a machine that runs other suites too

const RUN = workflowIds.roleChange('ultramarket');
/** Where the worker is killed before anybody approved, besides while it waits; nothing may be changed by then. */
const BEFORE_THE_APPROVAL = ['probeSite', 'assessLoss'];
/** Where it is killed afterwards: in the middle of every chapter that changes something, in the order of the runbook. */
const MOMENTS = ['takeEpoch', 'fenceSite', 'fenceStore', 'promoteStore', 'startService', 'pointDns', 'verifyEndpoint'];
const MOST_KILLS_OF_ONE_FAILOVER = 8;
const DELAY_MILLISECONDS = 300;

/** The peak write rate is taken between samples. */
const SAMPLES_FOR_A_RATE = 3;

const random = seededRandom('failover');

/** Every failover loses its worker while it looks or measures, while it waits, and then in other chapters. */
interface Kills {
  readonly measuring: string;
  readonly moving: readonly string[];
}

/** As many failovers, each of a lab of its own, as the kills need: a site that was lost stays lost. */
function plannedKills(): Kills[] {
  const kills = countOf('KILLS', 3);
  const failovers = Math.ceil(kills / MOST_KILLS_OF_ONE_FAILOVER);
  return Array.from({ length: failovers }, (_, index) => {
    const share = Math.ceil((kills - index) / failovers);
    const chosen = random.shuffled(MOMENTS).slice(0, Math.max(1, share - 2));
    return {
      measuring: random.pick(BEFORE_THE_APPROVAL),
      moving: MOMENTS.filter((moment) => chosen.includes(moment)),
    };
  });
}

describe.each(plannedKills())('killed at $measuring, while it waits, and at $moving', ({ measuring, moving }) => {
  let e2e: E2eLab;
  let plannedSteps: readonly string[] = [];

  beforeAll(async () => {
    e2e = await E2eLab.up();
    await e2e.ask('schedules', 'apply');
    await e2e.shoppers.start(20);
  });

  afterAll(() => e2e?.destroy());

  test('a failover from a healthy site is not necessary, and touches nothing', async () => {
    await e2e.shoppers.waitForOrders(20, new Date(), 60);
    const before = await roles(e2e);
    const result = await e2e.ask<FailOverResult>('failover', 'start', '--to', 'dr', '--reason', 'a false alarm');
    expect(result).toMatchObject({ outcome: 'not necessary', epoch: null, approvedBy: null, evidence: [] });
    expect(await roles(e2e)).toEqual(before);
    expect(before).toMatchObject({ epochs: [], primaryTimeline: 1, drTimeline: 1, drInRecovery: true, fence: null });
    await e2e.shoppers.waitForOrders(20, new Date(), 30, 'primary');
  });

  test('before anybody starts one, the plan says what would run and the other site is ready; a lost standby is found', async () => {
    for (const store of [STORES.postgresql, STORES.mongodb, STORES.redis]) await sampled(e2e, store);
    const { plan } = await e2e.ask<Planned>('plan', 'failover');
    plannedSteps = plan.groups.flatMap(({ steps }) =>
      steps.filter(({ onlyWhere }) => onlyWhere === null).map(({ id }) => id),
    );
    // On a machine that is busy with other tests a server may take longer for an answer than a living one needs.
    const dryRun = async () => {
      const { out, exitCode } = await e2e.drctl(['plan', 'failover', '--dry-run', '--output', 'json']);
      const { readiness } = JSON.parse(out) as Planned;
      return { ...readiness, exitCode, alarms: alarming(readiness.checks).map(({ id }) => id) };
    };
    const until = (what: string, holds: (seen: Awaited<ReturnType<typeof dryRun>>) => boolean) =>
      waitUntil(what, async () => holds((seen = await dryRun())), { deadlineMs: 120_000, intervalMs: 500 });
    let seen = await dryRun();
    await until('nothing that would fail', ({ alarms }) => alarms.length === 0);
    expect(seen).toMatchObject({ verdict: 'ready', exitCode: 0, fromSite: 'primary', toSite: 'dr' });
    expect(seen.checks.map(({ id }) => id)).toEqual(
      expect.arrayContaining([`promotion:${STORES.postgresql}`, 'fence', 'control-repository', 'service:order']),
    );

    await e2e.supervisor.stop('redis-dr');
    try {
      const ofRedis = (id: string) => id.endsWith(`:${STORES.redis}`);
      await until('nothing but the lost standby', ({ alarms }) => alarms.length > 0 && alarms.every(ofRedis));
      expect(seen.exitCode).toBe(FAILURES.NotReady.exitCode);
      expect(seen.alarms).toContain(`standby:${STORES.redis}`);
    } finally {
      await e2e.supervisor.start('redis-dr');
    }
    const follows = async () => {
      const { reachable, problems } = await e2e.open.engine(STORES.redis).probe('dr', testContext());
      return reachable && problems.length === 0;
    };
    await waitUntil('the standby of redis following again', follows, { deadlineMs: 60_000, intervalMs: 250 });
  });

  test('the worker is killed again and again: the same run asks, waits and completes, and nothing is promoted twice', async () => {
    const since = new Date();
    await e2e.shoppers.waitForOrders(40, since, 60);
    await bothStoresSampled(e2e);

    const diedAt = new Date();
    await e2e.supervisor.killSite('primary');
    const before = await roles(e2e);
    await e2e.ask('failover', 'start', '--to', 'dr', '--reason', 'primary site lost power', '--detach');
    const { runId } = await e2e.handle(RUN).describe();
    await killedAt(e2e, measuring);
    const { card, waitingFor } = await statusWhere(e2e, (status) => status.card !== null && status.waitingFor !== null);

    await killed(e2e, 'it waits for its approval');
    const after = await statusWhere(e2e, () => true);
    expect(after).toMatchObject({ waitingFor, epoch: null, approvedBy: null, outcome: null, evidence: [] });
    // The same question, its price measured again meanwhile.
    const asked = (shown: ApprovalCard | null) => ({
      ...shown,
      number: Number(shown?.number) >= Number(card?.number),
      measuredAt: expect.any(String) as string,
      losses: shown?.losses.map(({ store, certainty }) => ({ store, certainty })),
    });
    expect(asked(after.card)).toEqual(asked(card));
    expect(after.card?.losses.length).toBeGreaterThan(2);
    expect(await roles(e2e)).toEqual(before);
    await approved(e2e);

    for (const moment of moving) await killedAt(e2e, moment);

    const result = (await e2e.client.workflow.getHandle(RUN, runId, { followRuns: false }).result()) as FailOverResult;
    expect(result).toMatchObject({ outcome: 'completed', approvedBy: 'oncall-lead', epoch: 1 });
    expect((await e2e.handle(RUN).describe()).runId).toBe(runId);
    expect(result.steps.map(({ id }) => id).filter((id) => !id.startsWith('notify:'))).toEqual(
      plannedSteps.filter((id) => !id.startsWith('notify:')),
    );
    const workers = (await e2e.workersOf(RUN)).filter((identity) => identity.startsWith('dr/'));
    expect(workers.length).toBeGreaterThan(2); // before, between and after the kills
    expect(workers.length).toBeLessThanOrEqual(moving.length + 3);
    expect(await roles(e2e)).toMatchObject({
      epochs: [layout.epoch(1)],
      primaryTimeline: null,
      drTimeline: 2,
      drHistory: ['00000002.history'],
      drInRecovery: false,
      fence: 1,
    });

    await e2e.shoppers.waitForOrders(40, diedAt, 90, 'dr');
    await e2e.shoppers.stop();
    await lossIsWithinTheBound(e2e, result, { since, diedAt });
  });

  test('the dead site comes back fenced: what its host starts again takes no writes', async () => {
    const programs = await e2e.supervisor.startSite('primary');
    const stores = programs.filter(({ kind }) => kind === 'store');
    expect(stores.length).toBeGreaterThan(0);
    expect(stores.filter(({ state }) => state !== 'fenced')).toEqual([]);
    expect(await roles(e2e)).toMatchObject({ primaryTimeline: null, drTimeline: 2, drInRecovery: false });
  });

  test('an approval for a failover that is over is one clear error', async () => {
    const before = await roles(e2e);
    const { exitCode, out, err } = await e2e.drctl(['failover', 'approve', '--by', 'platform-lead']);
    expect({ exitCode, out }).toEqual({ exitCode: 3, out: '' });
    expect(err).toMatch(/^Failed: .*role-change:ultramarket is not running[^]*\nWhere: [^]*\nData: [^]*\nNext: /);
    expect(await roles(e2e)).toEqual(before);
  });
});

/** Kills the worker at a random moment after the run has begun an activity of this type. */
async function killedAt(e2e: E2eLab, moment: string): Promise<void> {
  await e2e.waitForActivity(RUN, moment);
  const delayMilliseconds = random.integer(DELAY_MILLISECONDS);
  await new Promise((resolve) => setTimeout(resolve, delayMilliseconds));
  await killed(e2e, `${delayMilliseconds} ms after ${moment} began`);
}

/** The run must not be over, else the kill would prove nothing. */
async function killed(e2e: E2eLab, when: string): Promise<void> {
  process.stderr.write(`failover: the worker is killed, ${when}\n`);
  await e2e.killWorker('dr');
  expect((await e2e.handle(RUN).describe()).status.name).toBe('RUNNING');
}

/** The price is measured again and again: whoever signs a card that has just been replaced by a worse one is told, and signs anew. */
async function approved(e2e: E2eLab): Promise<void> {
  for (let card = 1; ; card += 1) {
    const { exitCode, err } = await e2e.drctl(['failover', 'approve', '--by', 'oncall-lead']);
    if (exitCode === 0) return;
    if (exitCode !== FAILURES.ApprovalOutdated.exitCode || card >= 3)
      throw new Error(`the approval was refused: ${err}`);
  }
}

async function statusWhere(e2e: E2eLab, holds: (status: FailOverStatus) => boolean): Promise<FailOverStatus> {
  let seen: FailOverStatus | null = null;
  await waitUntil(
    'the failover waiting for its approval',
    async () => {
      seen = await e2e.status<FailOverStatus>(RUN);
      return seen !== null && holds(seen);
    },
    { deadlineMs: 90_000, intervalMs: 250 },
  );
  return seen as unknown as FailOverStatus;
}

/** Who plays which role, as the servers, the epochs and the supervisor themselves say. */
async function roles(e2e: E2eLab) {
  const [epochs, primary, dr, fence, services] = await Promise.all([
    keysOf(e2e.offsite, layout.epochs()),
    timeline(e2e, 'primary'),
    timeline(e2e, 'dr'),
    e2e.supervisor.fenceOf('primary'),
    e2e.supervisor.services('dr'),
  ]);
  return {
    epochs,
    primaryTimeline: primary?.timeline ?? null,
    drTimeline: dr?.timeline,
    drHistory: dr?.history,
    drInRecovery: dr?.inRecovery,
    fence: fence?.epoch ?? null,
    servicesAtDr: services.map(({ name, desiredReplicas }) => `${name} ${desiredReplicas}`),
  };
}

/** The timeline of a site's PostgreSQL and every switch it knows of; null where it does not run. */
async function timeline(e2e: E2eLab, site: 'primary' | 'dr') {
  const { superuser } = POSTGRES_ROLES;
  const server = e2e.access.plan.sites[site].postgresql;
  const password = e2e.access.secrets.password(superuser.secret);
  const login = { user: superuser.name, password, database: 'postgres', connectionTimeoutMillis: 5_000 };
  try {
    // The checkpoint after a promotion may still be to come; the name of the current WAL file has the timeline at once.
    const sql = `
      SELECT pg_is_in_recovery() AS "inRecovery",
             CASE WHEN pg_is_in_recovery() THEN (SELECT timeline_id FROM pg_control_checkpoint())
                  ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END AS timeline,
             coalesce((SELECT array_agg(name ORDER BY name) FROM pg_ls_waldir() WHERE name LIKE '%.history'), '{}') AS history`;
    type Row = { inRecovery: boolean; timeline: number; history: string[] };
    return await inPostgres({ ...server, ...login }, async (client) => (await client.query<Row>(sql)).rows[0] ?? null);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ECONNREFUSED') return null;
    throw error;
  }
}

/** What `drctl plan failover --dry-run` answers. */
interface Planned {
  readonly plan: RoleChangePlan;
  readonly readiness: ReadinessResult;
}

/** The price of the loss comes from samples taken before the trouble. */
async function bothStoresSampled(e2e: E2eLab): Promise<void> {
  for (const store of [STORES.postgresql, STORES.mongodb]) await sampled(e2e, store);
}

async function sampled(e2e: E2eLab, store: string): Promise<void> {
  await waitUntil(
    `samples of the replication of ${store}`,
    async () => ((await readSamples(e2e.open.control))[store]?.length ?? 0) >= SAMPLES_FOR_A_RATE,
    { deadlineMs: 60_000, intervalMs: 500 },
  );
}

async function lossIsWithinTheBound(
  e2e: E2eLab,
  { losses }: FailOverResult,
  { since, diedAt }: { since: Date; diedAt: Date },
): Promise<void> {
  const journal = await e2e.shoppers.journal();
  const now = new Date();
  const { orders, events } = await compareStores(e2e.access, { site: 'dr' }, journal, now, { sentSince: since });
  expect({ orders: orders.altered, events: events.altered }).toEqual({ orders: [], events: [] });
  expect(orders.unexpected).toEqual([]);
  expect(orders.confirmed).toBeGreaterThan(40);
  const bound = losses.find(({ store }) => store === STORES.postgresql);
  expect(bound?.certainty).not.toBe('unknown');
  const lost = lossOf(orders.missing, diedAt);
  expect(lost.orders.length).toBeLessThanOrEqual(bound?.operations ?? 0);
  expect(lost.seconds).toBeLessThanOrEqual(bound?.seconds ?? 0);
  // Events are acknowledged by a majority, of which a member outside the lost site always is one.
  expect(events.missing).toEqual([]);
}
