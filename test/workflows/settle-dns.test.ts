import { randomUUID } from 'node:crypto';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import type { MovedName, SettleDnsInput, SettleDnsResult } from '../../core/dns-moves';
import { failure } from '../../core/errors';
import { taskQueues } from '../../core/names';
import type { RunStatus } from '../../core/runs';
import type { DnsAnswer } from '../../core/traffic';
import { shop } from '../support/shop-application';
import { type FakeActivities, timeSkippingEnvironment, withWorkers } from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
beforeAll(async () => {
  env = await timeSkippingEnvironment();
}, 120_000);
afterAll(() => env?.teardown());

const OLD = '10.0.1.100';
const NEW = '10.0.2.100';
const answer = (server: string, value: string): DnsAnswer => ({
  server,
  values: [value],
  ttlSeconds: 60,
  problem: null,
});

interface World {
  /** Seconds after the change from which each resolver answers the new address; null: never. */
  readonly resolvers: Readonly<Record<string, number | null>>;
  readonly ttlSeconds: number;
  readonly before?: (look: number) => void;
}

interface Settled {
  readonly result: SettleDnsResult;
  readonly status: RunStatus;
  readonly looks: number;
  readonly took: number;
  readonly told: readonly string[];
  readonly restored: readonly string[];
}

async function settle({ resolvers, ttlSeconds, before }: World): Promise<Settled> {
  let changedAt = 0;
  const told: string[] = [];
  const restored: string[] = [];
  let looks = 0;
  const activities: FakeActivities = {
    async lookAtDns({ epoch }) {
      looks += 1;
      before?.(looks);
      if (epoch !== 3) throw failure('StaleEpoch', `asked for epoch ${epoch}`);
      const seconds = ((await env.currentTimeMs()) - changedAt) / 1_000;
      const said = Object.entries(resolvers).map(([name, from]) =>
        answer(name, from !== null && seconds >= from ? NEW : OLD),
      );
      return { authoritative: [answer('ns-1', NEW)], resolvers: said };
    },
    async restoreTtl({ target }) {
      restored.push(target.name);
      return null;
    },
    async notify({ title, lines }) {
      told.push([title, ...lines].join('\n'));
      return [];
    },
  };
  return withWorkers(env, activities, [taskQueues.site(shop.name, 'dr')], async () => {
    // Now, not before: loading the workflows for the first worker takes seconds.
    changedAt = await env.currentTimeMs();
    const moved: MovedName = {
      target: shop.dns[0]!,
      answers: [],
      changedAt: new Date(changedAt).toISOString(),
      previousTtlSeconds: ttlSeconds,
      staleUntil: new Date(changedAt + ttlSeconds * 1_000).toISOString(),
    };
    const input: SettleDnsInput = { application: shop.name, site: 'dr', epoch: 3, names: [moved] };
    const handle = await env.client.workflow.start<(given: SettleDnsInput) => Promise<SettleDnsResult>>('settleDns', {
      taskQueue: taskQueues.workflows,
      workflowId: randomUUID(),
      args: [input],
    });
    const result = await handle.result();
    // By the run's own clock: the server's goes on skipping until its result has arrived here.
    const took = (Date.parse(result.names[0]?.waitedUntil ?? '') - changedAt) / 1_000;
    return { result, status: await handle.query<RunStatus>('status'), looks, took, told, restored };
  });
}

test('the old TTL is waited out although every resolver has changed long before, and each is reported with its time', async () => {
  const { result, took, told, restored, status } = await settle({
    ttlSeconds: 600,
    resolvers: { 'quick:53': 0, 'slow:53': 300 },
  });
  expect(result.outcome).toBe('settled');
  const [name] = result.names;
  expect(name).toMatchObject({ name: 'api.shop.test', type: 'A', notAuthoritative: [] });
  const [quick, slow] = name!.resolvers;
  expect(quick).toMatchObject({ resolver: 'quick:53', answers: NEW });
  expect(quick?.changedAfterSeconds).toBeLessThan(60);
  expect(slow).toMatchObject({ resolver: 'slow:53', answers: NEW });
  expect(slow?.changedAfterSeconds).toBeGreaterThanOrEqual(300);
  expect(slow?.changedAfterSeconds).toBeLessThan(400);
  expect(took).toBeGreaterThanOrEqual(600);
  expect(took).toBeLessThan(700);
  expect(told).toEqual([]);
  expect(restored).toEqual(['api.shop.test']);
  expect(status).toMatchObject({ kind: 'settle', phase: 'settled', steps: [{ state: 'done' }] });
}, 60_000);

test('a resolver that keeps the old answer beyond its TTL is told by name, and no resolver at all proves nothing either way', async () => {
  const { result, took, told } = await settle({ ttlSeconds: 60, resolvers: { 'stubborn:53': null, 'good:53': 1 } });
  expect(result.outcome).toBe('not everywhere');
  expect(result.names[0]?.resolvers[0]).toEqual({ resolver: 'stubborn:53', changedAfterSeconds: null, answers: OLD });
  expect(took).toBeGreaterThanOrEqual(90); // the TTL and the grace
  expect(told).toHaveLength(1);
  expect(told[0]).toContain(`api.shop.test: resolver stubborn:53: ${OLD}`);
  expect(told[0]).not.toContain('good:53');

  const alone = await settle({ ttlSeconds: 60, resolvers: {} });
  expect(alone).toMatchObject({ result: { outcome: 'settled' }, told: [] });
  expect(alone.took).toBeGreaterThanOrEqual(60);
  expect(alone.status.steps[0]?.note).toBe('no resolvers are configured');
}, 60_000);

test('a day-long TTL costs about a hundred looks', async () => {
  const { result, looks } = await settle({ ttlSeconds: 86_400, resolvers: { 'quick:53': 0 } });
  expect(result.outcome).toBe('settled');
  expect(looks).toBeGreaterThan(50);
  expect(looks).toBeLessThan(150);
}, 60_000);

test('a newer role change ends it, and a look that fails is made good for by the next one', async () => {
  const overtaken = await settle({
    ttlSeconds: 600,
    resolvers: {},
    before(look) {
      if (look === 3) throw failure('StaleEpoch', 'epoch 3 of shop is over');
    },
  });
  expect(overtaken).toMatchObject({ result: { outcome: 'overtaken' }, restored: [], told: [] });
  expect(overtaken.status.messages.join()).toContain('epoch 3 of shop is over');

  const mended = await settle({
    ttlSeconds: 60,
    resolvers: {},
    before(look) {
      if (look === 2) throw failure('ConfigInvalid', 'the probe is broken');
    },
  });
  expect(mended.result.outcome).toBe('settled');
}, 60_000);
