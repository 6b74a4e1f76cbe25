import { toApplication } from '../../config/application';
import { loadConfig } from '../../config/load';
import type { RuleFile } from '../../core/monitoring/alert-rules';
import { dashboard } from '../../core/monitoring/dashboard';
import { prometheusPrograms } from '../../lab/runtime/prometheus';
import { alertCauses, type Watch } from '../support/alert-causes';
import { shortenTimes } from '../support/alert-lab';
import { E2eLab, waitUntil } from '../support/e2e-lab';
import { TestPrometheus } from '../support/prometheus';

/**
 * Every alert is made to fire by causing its reason: a real Prometheus scrapes the workers of a lab whose servers, runs and
 * objects are broken one after the other, and mended again. Times of the config are shortened and nothing else. It takes half
 * an hour, so only `npm run test:deep -- alerts` runs it (jest.config.js).
 */
/** Longer than a worker on a busy machine needs to answer. */
const SCRAPED_SECONDS = 5;
/** A replication counts as measured for five minutes, which no config changes; to that what a busy machine needs. */
const SEEN_MILLISECONDS = 600_000;

let e2e: E2eLab;
let watch: Watch;

beforeAll(async () => {
  const programs = prometheusPrograms();
  if (!programs) throw new Error('there is no Prometheus here, and none can be had from Debian');
  e2e = await E2eLab.up();
  shortenTimes(e2e.configFile);
  const sites = ['primary', 'dr'] as const;
  await Promise.all(sites.map((site) => e2e.killWorker(site)));
  await Promise.all(sites.map((site) => e2e.workerReady(site)));
  const rules = await e2e.ask<RuleFile>('metrics', 'rules');
  const { scrape_configs: jobs } = await e2e.ask<{ scrape_configs: Watch['jobs'] }>('metrics', 'scrape');
  const prometheus = await TestPrometheus.start(programs, rules, jobs, SCRAPED_SECONDS);
  watch = { prometheus, rules, jobs };
}, 600_000);

afterAll(async () => {
  await watch?.prometheus.stop();
  await e2e?.destroy();
}, 120_000);

async function firing(): Promise<{ readonly name: string; readonly labels: Readonly<Record<string, string>> }[]> {
  return (await watch.prometheus.rules()).flatMap(({ name, alerts }) =>
    (alerts ?? []).filter(({ state }) => state === 'firing').map(({ labels }) => ({ name, labels })),
  );
}

async function isFiring(alert: string, of: Readonly<Record<string, string>>): Promise<boolean> {
  const fits = (labels: Readonly<Record<string, string>>) =>
    Object.entries(of).every(([key, value]) => labels[key] === value);
  return (await firing()).some(({ name, labels }) => name === alert && fits(labels));
}

const seen = { deadlineMs: SEEN_MILLISECONDS, intervalMs: 500 };

test('of a new application it is told what was never done, and nothing is said to be lost', async () => {
  const names = async () => [...new Set((await firing()).map(({ name }) => name))].toSorted();
  const expected = ['BackupMissing', 'ReadinessUnknown', 'ReplicationUnmeasured'];
  await waitUntil(`${expected.join(', ')} firing`, async () => (await names()).join() === expected.join(), seen);
  expect(await names()).toEqual(expected);
});

/** The causes need no lab to be listed. */
const listed = alertCauses({} as E2eLab, () => watch).map(({ alert, because }) => [alert, because] as const);

/** It wants a backup of yesterday, and no config makes that shorter (`promtool` alone has seen it: test/unit/alert-rules.test.ts). */
const NOT_CAUSED = ['CopyMissing'];

test('every rule has a cause here', () => {
  const rules = watch.rules.groups.flatMap((group) => group.rules.map(({ alert }) => alert));
  expect([...new Set(listed.map(([alert]) => alert)), ...NOT_CAUSED].toSorted()).toEqual(rules.toSorted());
});

test.each(listed)(
  '%s: %s',
  async (alert, because) => {
    const wanted = alertCauses(e2e, () => watch).find((each) => each.alert === alert && each.because === because)!;
    const { cause, cure, of = {} } = wanted;
    try {
      if (cause) {
        await waitUntil(`${alert} being silent`, async () => !(await isFiring(alert, of)), seen);
        await cause();
      }
      await waitUntil(`${alert} firing`, () => isFiring(alert, of), seen);
    } finally {
      await cure(); // also where it did not fire: the next one begins with a lab that is whole
    }
    await waitUntil(`${alert} having ended`, async () => !(await isFiring(alert, of)), seen);
    expect(await isFiring(alert, of)).toBe(false);
  },
  1_800_000,
);

test('every query of the dashboard is answered with figures', async () => {
  const { panels } = dashboard(toApplication(loadConfig(e2e.configFile))) as {
    panels: { title: string; targets: { expr: string }[] }[];
  };
  expect(panels.length).toBeGreaterThan(12);
  const empty = async () => {
    const found: string[] = [];
    for (const { title, targets } of panels)
      for (const { expr } of targets)
        if ((await watch.prometheus.query(expr)).length === 0) found.push(`${title}: ${expr}`);
    return found;
  };
  // The workers were started a moment ago.
  await waitUntil('every query being answered', async () => (await empty()).length === 0, seen).catch(() => undefined); // named below
  expect(await empty()).toEqual([]);
}, 600_000);
