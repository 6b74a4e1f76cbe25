import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createRepository } from '../../adapters/repository';
import { withExpectedTimes, type PastRun } from '../../core/expected-times';
import { layout } from '../../core/layout';
import { planFailover } from '../../core/plan-failover';
import { planSwitchover } from '../../core/plan-switchover';
import type { PlannedStep, RoleChangePlan } from '../../core/role-change-plan';
import { main } from '../../starters/main';
import { planLines } from '../../starters/plan';
import { recordingIo } from '../support/recording-io';
import { shop } from '../support/shop-application';

const DETAILS = { servers: (store: string, site: string) => [`${store}-${site}:1`], siteFence: 'agent' };
const plan = planFailover(
  shop,
  { fromSite: 'primary', toSite: 'dr', epoch: 4 },
  { ...DETAILS, survivors: (store) => (store === 'events' ? { left: 1, all: 3 } : null) },
);

/** What both kinds end with. */
const SERVED_AGAIN = [
  'service:auth',
  'service:order service:cart',
  'dns:api.shop.test',
  'verify:GET http://api.shop.test/health verify:orders verify:events verify:sessions',
  'members:orders',
  'lineage',
  'settle',
  'notify:end',
  'report',
];

const stepOf = (of: RoleChangePlan, id: string): PlannedStep => {
  const found = of.groups.flatMap(({ steps }) => steps).find((step) => step.id === id);
  if (!found) throw new Error(`the plan has no step ${id}`);
  return found;
};

test('the groups are in the order of the runbook, and what can be done side by side is one group', () => {
  expect(plan.groups.map(({ steps }) => steps.map(({ id }) => id).join(' '))).toEqual([
    'confirm',
    'standbys',
    'assess',
    'look-again',
    'epoch',
    'evidence',
    'fence:site',
    'fence:orders fence:events fence:sessions stop:auth stop:order stop:cart',
    'catch-up:orders',
    'promote:orders promote:events promote:sessions files:assets',
    'hold:fence',
    ...SERVED_AGAIN,
  ]);
  const conditional = plan.groups.flatMap(({ steps }) => steps.filter(({ onlyWhere }) => onlyWhere !== null));
  expect(conditional.map(({ id }) => id)).toEqual(['hold:fence']);
});

test('a switchover hands every store over before its pivot; TTLs, running services and PostgreSQL alone have conditions', () => {
  const policy = { ...shop.failover.switchover, lowerTtlToSeconds: 5 };
  const lowering = { ...shop, failover: { ...shop.failover, switchover: policy } };
  const ids = (of: RoleChangePlan) => of.groups.map(({ steps }) => steps.map(({ id }) => id).join(' '));
  const moved = planSwitchover(lowering, { fromSite: 'primary', toSite: 'dr', epoch: 4 }, DETAILS);
  const [ready, lag, ttl, ...rest] = ids(moved);
  expect([ready, lag, ttl]).toEqual(['ready', 'lag', 'ttl:api.shop.test']);
  expect(rest).toEqual([
    'epoch',
    'stop:auth stop:order stop:cart',
    'hand-over:orders hand-over:events hand-over:sessions',
    'evidence',
    'fence:site',
    'promote:orders promote:events promote:sessions files:assets',
    ...SERVED_AGAIN.slice(0, 4),
    'follow:orders follow:events follow:sessions',
    ...SERVED_AGAIN.slice(4),
  ]);
  const without = planSwitchover(shop, { fromSite: 'primary', toSite: 'dr', epoch: 4 }, DETAILS);
  expect(ids(without)).toEqual([ready, lag, ...rest]);
  expect(stepOf(moved, 'ttl:api.shop.test')).toMatchObject({ title: 'Lower the TTL of api.shop.test to 5 s' });
  const pivot = moved.groups.findIndex((group) => group.pivot);
  expect(moved.groups[pivot]?.steps[0]?.id).toBe('promote:orders');
  expect(moved.groups.findIndex(({ waitsFor }) => waitsFor !== null)).toBe(3);
  const text = planLines(moved).join('\n');
  expect(text).toMatch(/^Switchover of shop primary → dr: 32 steps, epoch 4 → 5/);
  expect(text).toMatch(/only where it runs there:\n {8}scales it to nothing/);
  expect(text).toMatch(/ends the writes of postgresql at orders-primary:1, reads where it ended/);
});

test('people decide once before anything is changed, and the pivot is the promotion', () => {
  const index = (has: (group: RoleChangePlan['groups'][number]) => boolean) => plan.groups.findIndex(has);
  expect(plan.groups.filter(({ waitsFor }) => waitsFor !== null)).toHaveLength(1);
  expect(plan.groups[index(({ waitsFor }) => waitsFor !== null)]?.waitsFor).toMatch(
    /^approval by dana or erin, but not by whoever asked; asked again every 10m/,
  );
  const pivot = index((group) => group.pivot);
  expect(plan.groups[pivot]?.steps[0]?.id).toBe('promote:orders');
  const undone = plan.groups.flatMap(({ steps }, at) => (steps.some(({ undo }) => undo !== null) ? [at] : []));
  expect(undone.length).toBeGreaterThan(0);
  expect(Math.min(...undone)).toBeGreaterThan(index(({ waitsFor }) => waitsFor !== null));
  expect(Math.max(...undone)).toBeLessThan(pivot);
});

test('each step says exactly what it will do', () => {
  expect(stepOf(plan, 'promote:orders').does).toBe(
    'makes the one with the newest timeline and most of its log of postgresql at orders-dr:1 the primary, and notes epoch 5 in it',
  );
  expect(stepOf(plan, 'catch-up:orders')).toMatchObject({
    does:
      'looks up to where its log is archived; what postgresql at orders-dr:1 has not of that is streamed to it by the worker, ' +
      'and seen replayed, within 1m 0s; then a person decides',
    undo: { id: 'undo:catch-up:orders' },
    skippable: true,
  });
  expect(stepOf(plan, 'promote:events').does).toMatch(
    /the config names 1 of 3 members elsewhere than at primary: .* it has to be forced, only once an approver attests it/,
  );
  expect(stepOf(plan, 'fence:sessions').does).toBe("by redis's own means at sessions-primary:1");
  expect(stepOf(plan, 'fence:site').does).toMatch(/^by the agent of the config/);
  expect(stepOf(plan, 'service:order').does).toMatch(/^scales it to 3 replicas and waits/);
  expect(stepOf(plan, 'service:cart').does).toMatch(/^scales it to 1 replica and/);
  expect(stepOf(plan, 'dns:api.shop.test').does).toMatch(
    /^A api\.shop\.test: 10\.0\.1\.100 → 10\.0\.2\.100, TTL 1m 0s;/,
  );
  expect(stepOf(plan, 'verify:GET http://api.shop.test/health').does).toMatch(/expects 200 from 10\.0\.2\.100/);
  expect(stepOf(plan, 'lineage').does).toMatch(/^follows the log of orders, events at dr/);
  expect(stepOf(plan, 'promote:orders').skippable).toBe(false);
  expect(stepOf(plan, 'service:cart').skippable).toBe(true);
});

const took = (id: string, seconds: number, state: 'done' | 'failed' | 'skipped' = 'done') => ({
  id,
  state,
  startedAt: '2026-11-22T13:00:00.000Z',
  finishedAt: new Date(Date.UTC(2026, 10, 22, 13) + seconds * 1_000).toISOString(),
});

const pastRun = (toSite: string, steps: PastRun['steps'], approvalToVerifiedSeconds: number | null): PastRun => ({
  kind: 'failover',
  toSite,
  steps,
  approvalToVerifiedSeconds,
});

test('expected times are medians of earlier runs to the same site; what none of them did is not known', () => {
  const timed = withExpectedTimes(plan, [
    pastRun('dr', [took('promote:orders', 1), took('fence:orders', 4, 'skipped')], 8),
    pastRun('dr', [took('promote:orders', 5), took('service:auth', 60, 'skipped')], null),
    pastRun('dr', [took('promote:orders', 2), took('promote:events', 9, 'failed')], 12),
    pastRun('primary', [took('promote:sessions', 3)], 100),
    { ...pastRun('dr', [took('promote:sessions', 3)], 1), kind: 'switchover' },
  ]);
  expect(stepOf(timed, 'promote:orders').expected).toEqual({ medianSeconds: 2, slowestSeconds: 5, runs: 3 });
  // A fence that found no proof has ended by itself; a service that a person left out has not.
  expect(stepOf(timed, 'fence:orders').expected).toMatchObject({ medianSeconds: 4, runs: 1 });
  for (const id of ['service:auth', 'promote:events', 'promote:sessions'])
    expect([id, stepOf(timed, id).expected]).toEqual([id, null]);
  expect(timed.approvalToVerified).toEqual({ medianSeconds: 10, slowestSeconds: 12, runs: 2 });
  const text = planLines(timed).join('\n');
  expect(text).toMatch(/to the verified service: 10\.0 s, at most 12\.0 s in 2 runs; objective 4h 0m/);
  expect(text).toMatch(/Promote orders at dr +2\.0 s, at most 5\.0 s in 3 runs\n/);
  expect(text).toMatch(/Promote events at dr +time not known yet\n/);
  expect(text).toMatch(/══ the pivot.*\n\n +10 {2}Promote orders at dr/);
});

describe('drctl plan', () => {
  const folder = mkdtempSync(join(tmpdir(), 'drctl-plan-'));
  const config = join(folder, 'ultramarket.yaml');
  const example = readFileSync('config/examples/ultramarket.yaml', 'utf8');
  writeFileSync(
    config,
    example
      .replace('controlRepository: offsite', 'controlRepository: here')
      .replace('repositories:\n', `repositories:\n  here: { kind: local, directory: ${folder}/control }\n`),
  );
  const control = createRepository(
    'here',
    { kind: 'local', directory: `${folder}/control`, prefix: '' },
    'ultramarket',
  );
  afterAll(() => rmSync(folder, { recursive: true }));

  async function drctl(...argv: string[]) {
    const io = recordingIo({ env: { DRCTL_CONFIG: config } });
    return { exitCode: await main(argv, io), io };
  }

  const store = (id: string, content: unknown) =>
    control.put(
      layout.report(id, 'json'),
      Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)),
    );

  test('is made of the config and the reports, without Temporal and without any server', async () => {
    await store('failover-1', { outcome: 'completed', ...pastRun('dr', [took('dns:api.ultramarket.com', 7)], 9) });
    const versioned = {
      kind: 'failover',
      move: { from: 'primary', to: 'dr', epoch: 1 },
      recovery: { approvedAt: '2026-11-22T13:00:00.000Z', verifiedAt: '2026-11-22T13:00:05.000Z' },
      steps: [took('dns:api.ultramarket.com', 3)],
    };
    await store('failover-2', { formatVersion: 1, ...versioned });
    await store('failover-3', 'no JSON');
    await store('restore-1', { steps: [] });
    const { exitCode, io } = await drctl('plan', 'failover', '--output', 'json');
    expect({ exitCode, notes: io.notes }).toEqual({
      exitCode: 0,
      notes: ['The report reports/failover-3.json does not say how long its steps took: it is left out.'],
    });
    const { plan: shown } = JSON.parse(io.outLines.join('\n')) as { plan: RoleChangePlan };
    expect(shown).toMatchObject({ fromSite: 'primary', toSite: 'dr', epoch: 0, nextEpoch: 1 });
    expect(shown.approvalToVerified).toMatchObject({ medianSeconds: 7, runs: 2 });
    expect(stepOf(shown, 'dns:api.ultramarket.com').expected).toMatchObject({ medianSeconds: 5, runs: 2 });
    expect(stepOf(shown, 'promote:catalog').does).toMatch(/at mongodb-dr-0:27017, mongodb-dr-1:27017 the primary/);
    expect(stepOf(shown, 'fence:orders-db').does).toMatch(/at postgresql-primary:5432$/);
    expect(stepOf(shown, 'fence:site').does).toMatch(/^by the command of the config/);
  });

  test('of a switchover counts the times of switchovers alone', async () => {
    const times = { outcome: 'completed', kind: 'switchover', move: { to: 'dr' }, recovery: null };
    await store('switchover-1', { ...times, steps: [took('hand-over:sessions', 2)] });
    const { exitCode, io } = await drctl('plan', 'switchover', '--to', 'dr', '--output', 'json');
    expect(exitCode).toBe(0);
    const { plan: shown } = JSON.parse(io.outLines.join('\n')) as { plan: RoleChangePlan };
    expect(shown).toMatchObject({ kind: 'switchover', fromSite: 'primary', toSite: 'dr', approvalToVerified: null });
    expect(stepOf(shown, 'hand-over:sessions').expected).toMatchObject({ medianSeconds: 2, runs: 1 });
    expect(stepOf(shown, 'dns:api.ultramarket.com').expected).toBeNull();
  });

  test('a site that is active already, or that there is not, is refused', async () => {
    for (const [site, code, exitCode] of [
      ['primary', 'RoleMismatch', 37],
      ['moon', 'NotFound', 3],
    ] as const) {
      const { exitCode: ended, io } = await drctl('plan', 'failover', '--to', site, '--output', 'json');
      expect({ ended, error: JSON.parse(io.outLines.join('\n')) as unknown }).toMatchObject({
        ended: exitCode,
        error: { error: { code } },
      });
    }
  });
});
