import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { readSamples } from '../../activities/sample-log';
import { workflowIds } from '../../core/names';
import type { SiteName } from '../../lab/sites/address-plan';
import { STORES } from '../../lab/sites/build';
import { violations } from '../support/consistency/checker';
import { factsOf } from '../support/consistency/facts';
import type { Operation } from '../support/consistency/history';
import { Nemesis, plannedRounds } from '../support/consistency/nemesis';
import { type Ended, peopleDecide } from '../support/consistency/people';
import { addNotedHooks, hookFaults } from '../support/consistency/noted-hooks';
import { postgresqlSurvivors } from '../support/consistency/postgresql-session';
import { addSecondStandby, type SecondStandby } from '../support/consistency/second-standby';
import { asSuperuser, interposeLinks, type SiteLinks } from '../support/consistency/site-links';
import { Workload } from '../support/consistency/workload';
import { E2eLab, waitUntil } from '../support/e2e-lab';
import { countOf, seededRandom } from '../support/random';

/**
 * In the manner of Jepsen: a bank and registers in PostgreSQL, MongoDB and Redis are used through the public name, and by clients
 * that ignore it, while the active site is killed, stopped or cut off, the failover's worker and Temporal are killed, and what
 * was stopped wakes up. Then everything that the clients saw is held against what drctl promises.
 */
jest.setTimeout(600_000);

const RUN = workflowIds.roleChange('ultramarket');
/** The peak write rate is taken between samples. */
const SAMPLES_FOR_A_RATE = 2;
/** PostgreSQL keeps the time of a checkpoint in whole seconds: only samples after the next one are surely behind it. */
const A_CHECKPOINTS_SECOND = 1_000;
/** Acknowledged in each store by the end: enough that a fault cannot have fallen between them. */
const WRITES = 20;

const random = seededRandom('consistency');

describe.each(plannedRounds(random, countOf('ROUNDS', 1)))('round $round: the site is $fault', (plan) => {
  let e2e: E2eLab;
  let second: SecondStandby;
  let hookCalls: ReturnType<typeof addNotedHooks>;
  let links: SiteLinks;
  let workload: Workload;
  const say = (line: string) => process.stderr.write(`consistency, round ${plan.round}: ${line}\n`);

  beforeAll(async () => {
    e2e = await E2eLab.up();
    second = await addSecondStandby(e2e);
    hookCalls = addNotedHooks(e2e);
    links = await interposeLinks(e2e, second.link);
    workload = new Workload(e2e, links.mongodb, random);
    await workload.start();
    await e2e.ask('schedules', 'apply');
  });

  afterAll(async () => {
    await workload?.stop();
    links?.close();
    await second?.stop();
    await e2e?.destroy();
  });

  test('nobody sees anything that a failover must not show, and nothing is lost but its price', async () => {
    const nemesis = new Nemesis(e2e, links, plan, say);
    nemesis.lag();
    await everyStore((store) => sampledAndUsed(e2e, workload, store, 0));
    // The first change of a page after a checkpoint logs all of it, so a watch that has seen none bounds no bytes.
    await asSuperuser(e2e, 'primary', (client) => client.query('CHECKPOINT'));
    const checkpointAtMs = Date.now();
    await everyStore((store) => sampledAndUsed(e2e, workload, store, checkpointAtMs + A_CHECKPOINTS_SECOND));

    await nemesis.strike();
    await e2e.ask('failover', 'start', '--to', 'dr', '--reason', plan.fault, '--detach');
    const { runId } = await e2e.handle(RUN).describe();
    const over = new AbortController();
    const [ended] = await Promise.all([
      peopleDecide(e2e, runId, RUN, async (question) => {
        say(`a person is asked: ${question}`);
        // What is asked after the promotion is whether to go on looking: a check of a server that was frozen or cut off.
        const isPromoted = /^a decision \(retry or skip\) on .*\(step verify:/.test(question);
        expect(isPromoted || (await isStandby(e2e, 'dr'))).toBe(true);
        nemesis.heal();
        await e2e.drctl(['failover', 'retry', '--by', 'oncall-lead']);
      }).finally(() => over.abort()),
      nemesis.haunt(RUN, over.signal),
    ]);
    nemesis.heal();
    const leads = leader(ended);
    say(`${ended.status.outcome}, ${leads} leads; ${summary(workload.history)}`);
    const healedAtMs = Date.now();
    await everyStore((store) =>
      waitUntil(`writes to ${store}`, async () => workload.acknowledged(store, leads, healedAtMs) >= WRITES, {
        deadlineMs: 120_000,
      }),
    );
    await workload.stop();

    say(`at the end ${summary(workload.history)}`);
    const { result } = ended;
    if (!result) throw ended.error;
    const survivors = await workload.survivors(leads);
    const facts = await factsOf(e2e, result, workload.history, survivors);
    const found = violations(workload.history, facts);
    if (found.length > 0) say(`kept in ${kept({ plan, found, facts, result, history: workload.history })}`);
    expect(found.slice(0, 20)).toEqual([]);
    expect(result.outcome).toBe(plan.fault === 'aborted' ? 'aborted' : 'completed');
    expect(facts.stores[STORES.postgresql]?.bound).not.toMatchObject({ operations: null });
    // Nor is it for want of a checkpoint that bytes were not bounded: only one in the very last moment may leave them open.
    const priced = result.losses.find(({ store }) => store === STORES.postgresql);
    expect(typeof priced?.bytes === 'number' || /a checkpoint has just been/.test(priced?.basis ?? '')).toBe(true);
    expect(await isStandby(e2e, 'dr')).toBe(leads === 'primary');
    expect(hookFaults(hookCalls(), result, runId)).toEqual([]);
    const { host, port } = leads === 'dr' ? e2e.access.plan.sites.dr.postgresql : second.link.address;
    const same = async () => isDeepStrictEqual(await postgresqlSurvivors(second.url), survivors[STORES.postgresql]);
    await waitUntil('the second standby having what its primary has', same, { deadlineMs: 60_000 });
    expect(await second.sender()).toBe(`${host}:${port}`);
  });
});

async function everyStore(work: (store: string) => Promise<void>): Promise<void> {
  await Promise.all(Object.values(STORES).map(work));
}

/** Nothing was promoted: the old site has to lead as before. */
function leader({ status }: Ended): SiteName {
  return status.outcome === 'completed' ? 'dr' : 'primary';
}

async function sampledAndUsed(e2e: E2eLab, workload: Workload, store: string, sinceMs: number): Promise<void> {
  await waitUntil(
    `samples of the replication of ${store}, and its use`,
    async () => {
      const samples = (await readSamples(e2e.open.control))[store] ?? [];
      const fresh = samples.filter(({ primary, takenAt }) => primary !== null && Date.parse(takenAt) > sinceMs);
      return fresh.length >= SAMPLES_FOR_A_RATE && workload.acknowledged(store, 'primary', sinceMs) >= WRITES;
    },
    { deadlineMs: 120_000, intervalMs: 500 },
  );
}

async function isStandby(e2e: E2eLab, site: SiteName): Promise<boolean> {
  return asSuperuser(e2e, site, async (client) => {
    const { rows } = await client.query<{ yes: boolean }>('SELECT pg_is_in_recovery() AS yes');
    return rows[0]?.yes ?? false;
  });
}

/** A violation is worth a look at everything that led to it. */
function kept(evidence: object): string {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-consistency-')), 'history.json');
  fs.writeFileSync(file, JSON.stringify(evidence));
  return file;
}

function summary(history: readonly Operation[]): string {
  const counts = new Map<string, number>();
  for (const { store, site, outcome } of history) {
    const key = `${store} at ${site} ${outcome}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map((each) => each.join(' ')).join(', ');
}
