import { readFileSync } from 'node:fs';
import { forbiddenAddresses } from '../../config/drill-policy';
import { parseConfig } from '../../config/load';
import { findFailure } from '../../core/errors';
import {
  type EndpointSpeed,
  isolationProblem,
  judgeDrillRun,
  judgeSpeed,
  percentile,
  type StageResult,
} from '../../core/drill-judgements';
import { DRILL_STAGES } from '../../core/drill';
import { planDrill } from '../../core/drill-plan';
import { copyReport } from '../../core/report/from-restore';
import { figuresOf } from '../../core/report/figures';
import { htmlOf } from '../../core/report/html';
import { markdownOf } from '../../core/report/markdown';
import { planLines, resultLines } from '../../starters/drill';
import { shop } from '../support/shop-application';

const reached = (target: string) => ({ target, connected: true, how: 'connected' });
const refused = (target: string) => ({ target, connected: false, how: 'ECONNREFUSED' });
const at = '2026-11-22T01:00:00.000Z';

test('isolation is proven only by connections that failed, beside one that did not', () => {
  const copies = [reached('127.0.0.1:5433')];
  const production = [refused('10.0.1.10:5432'), refused('10.0.1.100:443')];
  expect(isolationProblem({ at, copies, production })).toBeNull();
  expect(isolationProblem({ at, copies, production: [...production, reached('10.0.2.10:5432')] })).toMatch(
    /production can be reached from the bubble: 10\.0\.2\.10:5432/,
  );
  expect(isolationProblem({ at, copies: [refused('127.0.0.1:5433')], production })).toMatch(/cannot be reached/);
  expect(isolationProblem({ at, copies: [], production })).toMatch(/proves nothing/);
  expect(isolationProblem({ at, copies, production: [] })).toMatch(/no address of production/);
});

describe('speed', () => {
  const speed = (p95Milliseconds: number, more: Partial<EndpointSpeed> = {}): EndpointSpeed => ({
    ...{ url: 'http://a/health', requests: 100, failed: 0, problem: null, p50Milliseconds: 1, perSecond: 9 },
    p95Milliseconds,
    ...more,
  });
  const policy = { requests: 100, concurrency: 2, p95Milliseconds: 500, slowerBy: 2 };
  const verdict = (measured: EndpointSpeed, earlier: readonly EndpointSpeed[]) =>
    judgeSpeed(
      [measured],
      earlier.map((each) => [each]),
      policy,
    )[0]?.verdict;

  test('a percentile is a value that was measured', () => {
    const values = Array.from({ length: 100 }, (_, index) => 100 - index);
    expect([percentile(values, 0.5), percentile(values, 0.95), percentile([7], 0.95), percentile([], 0.5)]).toEqual([
      50, 95, 7, 0,
    ]);
  });

  test('is judged by its failures, by the limit, by the median of earlier drills', () => {
    expect(verdict(speed(100), [])).toBeNull();
    expect(verdict(speed(100), [speed(60), speed(20), speed(70)])).toBeNull();
    expect(verdict(speed(130), [speed(60), speed(20), speed(70)])).toMatch(/130 ms, more than 2 times the 60 ms/);
    expect(verdict(speed(600), [speed(590)])).toMatch(/over the limit of 500 ms/);
    expect(verdict(speed(10, { failed: 3, problem: 'answered 503' }), [])).toMatch(
      /3 of 100 requests failed: answered 503/,
    );
    // What failed then is no baseline, nor is what another endpoint took; three times next to nothing is nothing.
    expect(verdict(speed(100), [speed(5, { failed: 1 }), speed(5, { url: 'http://a/other' })])).toBeNull();
    expect(verdict(speed(9), [speed(3)])).toBeNull();
  });
});

test('a drill achieves only what was tried, found to hold and taken away', () => {
  const stage = (state: StageResult['state'], gap = false): StageResult => {
    return { stage: 'network', state, note: '', seconds: 1, ...(gap ? { gap } : {}) };
  };
  const verdict = (stages: StageResult[], remains: string[] | null) => judgeDrillRun(stages, remains).verdict;
  expect(verdict([stage('held'), stage('left out')], [])).toBe('achieved');
  expect(verdict([stage('held'), stage('left out', true)], [])).toBe('attention');
  expect(verdict([stage('held')], ['a copy'])).toBe('attention');
  expect(verdict([stage('held')], null)).toBe('attention');
  expect(verdict([stage('held'), stage('failed')], [])).toBe('failed');
});

describe('the plan', () => {
  const plan = planDrill(shop, { site: 'dr', without: [] });

  test('names each stage, what is killed, and what of a site is touched', () => {
    expect(plan.stages.map(({ stage, leftOut }) => [stage, leftOut])).toEqual(DRILL_STAGES.map((each) => [each, null]));
    const text = planLines(plan).join('\n');
    expect(text).toMatch(/moves it to 10\.0\.4\.100/);
    expect(text).toMatch(/kills database: the drill's own copy of orders; healthy again within 30m/);
    expect(text).toMatch(/TOUCHES what runs at a site: standby: sessions at dr, unless that is active/);
  });

  test('kills and touches nothing where that is left out, by whoever asks or by the config', () => {
    expect(planDrill(shop, { site: 'dr', without: ['validator'] })).toMatchObject({ kills: [], touches: [] });
    const app = { ...shop, drill: { ...shop.drill, without: ['validator' as const] } };
    const left = planDrill(app, { site: 'dr', without: [] });
    expect(left.stages.at(-1)).toMatchObject({ leftOut: 'the config leaves it out' });
    expect(planLines(left).join('\n')).toMatch(/Production is not touched/);
  });

  test('says what the config has no place for', () => {
    const app = { ...shop, drill: { ...shop.drill, name: null, bubble: null, targets: [] } };
    const text = planLines(planDrill(app, { site: 'dr', without: [] })).join('\n');
    expect(text).toMatch(/isolated name: LEFT OUT, the config has no `drill\.name`/);
    expect(text).toMatch(/Nothing is killed/);
  });
});

const EXAMPLE = readFileSync('config/examples/ultramarket.yaml', 'utf8');
const TOKEN = '{ env: SUPERVISOR_TOKEN }';
const config = (drill: string) => {
  const text = EXAMPLE.replace(/^drill:\n(?: {2}.*\n)+/m, `drill:\n  recoveryWithin: 30m\n${drill}`);
  return parseConfig(text, 'drctl.yaml');
};
const problems = (drill: string): string => {
  try {
    config(drill);
    return '';
  } catch (error) {
    return findFailure(error)?.message ?? String(error);
  }
};

describe('the config', () => {
  test('refuses what would touch production, and what there is not', () => {
    expect(problems('  name: { name: api.ultramarket.com, values: [10.0.4.100] }\n')).toMatch(
      /drill\.name\.name: is a public name of the application/,
    );
    expect(problems('  name: { name: drill.ultramarket.com, values: [nowhere] }\n')).toMatch(/not an IPv4 address/);
    const bubble = (site: string) =>
      `  bubble: { kind: process, url: 'http://127.0.0.1:7070', token: ${TOKEN}, site: ${site} }\n`;
    expect(problems(bubble('dr'))).toMatch(/drill\.bubble\.site: is a site of the application/);
    expect(problems(bubble('bubble'))).toBe('');
    const pods = (namespace: string, more = '') =>
      `  bubble: { kind: kubernetes, cluster: { inCluster: true, namespace: ${namespace} }, services: ultramarket-dr,` +
      ` image: drctl, workerAddress: { env: POD_IP }${more} }\n`;
    expect(problems(pods('ultramarket-dr'))).toMatch(/drill\.bubble\.cluster\.namespace: is a site's/);
    expect(problems(pods('Drills'))).toMatch(/must be the name of a namespace/);
    expect(problems(pods('ultramarket-drill', ", env: { DB: '{copy:orders-db}' }"))).toBe('');
    expect(problems(pods('ultramarket-drill', ", env: { DB: '{copy:ordrs}' }"))).toMatch(/no store is called "ordrs"/);
    const target = (of: string) => problems(`  targets: [{ name: one, ${of} }]\n`);
    expect(target('store: orders-db')).toBe('');
    expect(target('store: ordrs')).toMatch(/no store is called "ordrs"/);
    expect(target('service: order')).toMatch(/needs `drill\.bubble`/);
    expect(target('store: orders-db, service: order')).toMatch(/either a store or a service/);
    expect(target('store: orders-db, site: dr')).toMatch(/needs `pods`: the label selector/);
    expect(target('store: orders-db, site: dr, pods: app=postgresql')).toBe('');
    expect(target('store: orders-db, pods: app=postgresql')).toMatch(/`pods` are of a target with a site/);
    expect(target('store: orders-db, evenActive: true')).toMatch(/for a target with a site/);
  });

  test('knows every address that a bubble may not reach', () => {
    const found = forbiddenAddresses(config("  mustNotReach: ['smtp.example.com:587']\n"));
    expect(found).toEqual(expect.arrayContaining(['10.0.1.100:443', '10.0.2.100:443', 'smtp.example.com:587']));
    expect(found.filter((address) => /:5432$/.test(address)).length).toBeGreaterThan(1);
    expect(found.filter((address) => /:(27017|6379)$/.test(address)).length).toBeGreaterThan(1);
  });
});

test('every form of the report has the stages, the isolation, the speed, the times and what was left', () => {
  const stages = DRILL_STAGES.map((stage): StageResult => ({
    stage,
    state: 'held',
    note: `${stage} | held`,
    seconds: 2,
  }));
  const drill = {
    ...{ site: 'dr', stages, remains: ['name <b>x</b>'] },
    isolation: { at, copies: [reached('127.0.0.1:5433')], production: [refused('10.0.1.10:5432')] },
    speeds: judgeSpeed(
      [
        {
          url: 'http://a/',
          requests: 9,
          failed: 0,
          problem: null,
          p50Milliseconds: 2,
          p95Milliseconds: 4,
          perSecond: 8,
        },
      ],
      [],
      shop.drill.performance,
    ),
    recoveries: [
      {
        ...{ name: 'database', component: 'the copy of orders', killed: ['process 7'], killedAt: at },
        ...{ seconds: 2_000, limitSeconds: 1_800, problem: null },
      },
    ],
  };
  const facts = {
    application: 'shop',
    outcome: 'completed',
    because: 'held',
    verdict: 'attention',
    warnings: [],
  } as const;
  const report = copyReport({
    ...{ ...facts, kind: 'drill', workflowId: 'drill:shop', runId: 'r1', requestedBy: 'sam', decisions: null },
    ...{ stores: [], steps: [], messages: [], startedAt: at, endedAt: at, drill },
  });
  const text = markdownOf(report);
  for (const words of [
    'integrity \\| held',
    '10.0.1.10:5432 | production | ECONNREFUSED | fail',
    'too late',
    'Left behind',
  ])
    expect(text).toContain(words);
  const page = htmlOf(report);
  expect(page).toContain('name &lt;b&gt;x&lt;/b&gt;');
  expect(page).toContain('ECONNREFUSED');
  const figure = (label: string) => figuresOf(report).find((each) => each.label === label);
  expect(figure('Isolation')).toMatchObject({ value: 'proven', judgement: 'within' });
  expect(figure('Slowest recovery')).toMatchObject({ value: '33m 20s', judgement: 'over' });
  expect(figure('Left behind')).toMatchObject({ value: '1', judgement: 'over' });
  const lines = resultLines({ ...facts, ...drill, drillId: '1a2b3c4d', reportId: 'drill-r1' }).join('\n');
  expect(lines).toMatch(/1 of 1 connections to production failed, as they have to/);
  expect(lines).toMatch(/OVER the limit of 30m/);
  expect(lines).toMatch(/LEFT BEHIND: name/);
});
