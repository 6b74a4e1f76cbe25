import { createHash } from 'node:crypto';
import type { Json } from '../../core/catalog';
import { layout } from '../../core/layout';
import { figuresOf } from '../../core/report/figures';
import { failoverReport } from '../../core/report/from-failover';
import { copyReport } from '../../core/report/from-restore';
import { htmlOf } from '../../core/report/html';
import { html } from '../../core/report/html-text';
import { markdownOf } from '../../core/report/markdown';
import { type ActualLoss, readReport, type RunReport } from '../../core/report/run-report';
import { timeScale } from '../../core/report/time-scale';
import { at, completedFailover, failoverThat, loss } from '../support/failover-facts';
import { randomOf, seedsOfRounds } from '../support/random';

const completed = failoverReport(completedFailover);
const figure = (report: RunReport, label: RegExp) => figuresOf(report).find((each) => label.test(each.label));

describe('the report of a failover', () => {
  test('says what was reached, and when the outage is known to have begun', () => {
    expect(completed).toMatchObject({
      formatVersion: 1,
      id: `failover-${completedFailover.runId}`,
      kind: 'failover',
      verdict: 'achieved',
      move: { from: 'primary', to: 'dr', epoch: 7 },
      // The card was measured 690 s after the begin, from samples of 750 s before that.
      recovery: { outageFrom: at(-60), approvedAt: at(707.7), verifiedAt: at(723.8) },
      warnings: [],
    });
    expect(completed.stores).toContainEqual({
      store: 'orders',
      engine: 'postgresql',
      results: [
        { what: 'promoted', state: 'done', note: 'promoted at 0/5000148' },
        { what: 'written and read back', state: 'done', note: '12 ms' },
      ],
    });
    expect(completed.stores.map(({ store }) => store)).toEqual(['orders', 'events', 'sessions']);
    expect(completed.dns).toEqual([
      {
        name: 'api.shop.test',
        state: 'done',
        note: '2 authoritative servers answer so',
        values: ['10.0.2.100'],
        ttlSeconds: 60,
      },
    ]);
  });

  test('finds the step of a record that is no A record', () => {
    const [target] = completedFailover.app.dns;
    const dns = [{ ...target!, type: 'AAAA' as const, valuesBySite: { dr: ['2001:db8::2'] } }];
    const steps = completed.steps.map((step) =>
      step.id.startsWith('dns:') ? { ...step, id: `${step.id}/AAAA`, note: '2 servers answer so' } : step,
    );
    const report = failoverReport(failoverThat({ steps }, { app: { ...completedFailover.app, dns } }));
    expect(report.dns).toMatchObject([
      { name: 'api.shop.test/AAAA', state: 'done', note: '2 servers answer so', values: ['2001:db8::2'] },
    ]);
  });

  test('puts the few numbers first, each with what it is measured against', () => {
    expect(figuresOf(completed)).toEqual([
      {
        label: 'Service back after',
        value: '13m 4s',
        note: 'since the old stores last answered (2026-11-22 13:04:00 UTC); within the objective of 4h 0m',
        judgement: 'within',
      },
      expect.objectContaining({ label: 'From approval to verified', value: '16.1 s' }),
      {
        label: 'Data loss',
        value: 'at most 12m 32s',
        note: 'as dana approved it; within the objective of 15m 0s; actual loss not known',
        judgement: 'within',
      },
      { label: 'primary cannot write', value: 'proven', note: 'proven for 3 of 3 stores', judgement: 'within' },
    ]);
  });

  test('a loss that is not known is never a number: neither the estimate nor the actual one', () => {
    for (const { actual } of completed.loss?.stores ?? [])
      expect(actual).toMatchObject({ certainty: 'not known', bytes: null, operations: null, seconds: null });
    const losses = [loss('orders', null), loss('events', 3)];
    const report = failoverReport(failoverThat({ losses }));
    expect(figure(report, /loss/)).toMatchObject({ value: 'unknown', judgement: 'open' });
    expect(figure(report, /loss/)?.note).toMatch(
      /^unknown for orders, sessions, at most 3\.0 s for the others; as dana/,
    );
    expect(report).toMatchObject({
      verdict: 'attention',
      warnings: ['What orders may have lost was unknown when it was approved: the standby does not answer'],
    });
    expect(markdownOf(report)).toMatch(/\| orders \| unknown \| objective 15m 0s: cannot be told \|.*\| not known \|/);
    expect(markdownOf(report)).toMatch(/\| sessions \| not measured \| objective 15m 0s: cannot be told \|/);
  });

  test('a loss or a recovery beyond its objective is said to be over it', () => {
    const card = completedFailover.card!;
    const report = failoverReport(
      failoverThat(
        { losses: ['orders', 'events', 'sessions'].map((store) => loss(store, 901)) },
        { verifiedAt: at(15_000), card: { ...card, losses: [] } },
      ),
    );
    expect(figure(report, /loss/)).toMatchObject({ value: 'at most 15m 1s', judgement: 'over' });
    expect(figure(report, /Service back/)).toMatchObject({ judgement: 'over' });
    expect(figure(report, /Service back/)?.note).toMatch(/^since the run began; the outage may be older/);
    expect(htmlOf(report)).toContain('OVER 15m 0s');
  });

  test('a loss is none only where something proves it for every store', () => {
    const having = (...actual: ActualLoss[]): RunReport => ({
      ...completed,
      loss: {
        rpoSeconds: 900,
        approvedBy: null,
        stores: actual.map((each, index) => ({
          store: `store-${index}`,
          rpoSeconds: 900,
          estimate: null,
          atApproval: null,
          actual: each,
        })),
      },
    });
    const zero = { bytes: 0, operations: null, seconds: null, basis: 'the standby replayed the checkpoint' };
    const proven = { ...zero, certainty: 'proven' as const };
    expect(figure(having(proven, proven), /loss/)).toMatchObject({ value: 'none', judgement: 'within' });
    expect(markdownOf(having(proven, proven))).toContain('| store-1 | none |');
    const measured = { ...zero, certainty: 'measured' as const, seconds: 2 };
    expect(figure(having(proven, measured), /loss/)).toMatchObject({ value: 'see below', judgement: 'open' });
    const unknown = { ...zero, bytes: null, certainty: 'not known' as const };
    expect(figure(having(proven, unknown), /loss/)).toMatchObject({
      value: 'unknown',
      note: 'not measured; objective 15m 0s; actual loss not known of store-1',
    });
    expect(markdownOf(having(proven, unknown))).toContain('| store-1 | not known |');
  });

  test('a site that only a person vouches for, and what was left out, are warned of', () => {
    const evidence = completed.evidence!.map((each) => ({ ...each, strength: 'attested' as const, by: 'erin' }));
    const steps = completed.steps.map((step) =>
      step.id === 'service:cart' ? { ...step, state: 'skipped' as const, note: 'skipped after: no such image' } : step,
    );
    const report = failoverReport(failoverThat({ evidence, steps }));
    expect(report.verdict).toBe('attention');
    expect(report.warnings).toEqual([
      'Nothing proves that primary cannot write to orders, events, sessions: a person vouches for it.',
      'Start cart at dr: left out (skipped after: no such image)',
    ]);
    expect(figure(report, /cannot write/)).toMatchObject({ value: 'attested', judgement: 'open' });
  });

  test('a run that promoted nothing has no loss, and nothing that was reached', () => {
    const steps = completed.steps.filter(({ id }) => /^(confirm|standbys|assess)$/.test(id));
    const report = failoverReport(
      failoverThat(
        { outcome: 'rejected', reason: 'erin: a false alarm', epoch: null, approvedBy: null, evidence: [], steps },
        { approvedAt: null, verifiedAt: null, decisions: [] },
      ),
    );
    expect(report.verdict).toBe('unchanged');
    expect(report.loss?.stores.map(({ actual }) => actual)).toEqual([null, null, null]);
    expect(figure(report, /would have lost/)).toMatchObject({ value: 'at most 12m 32s' });
    expect(figure(report, /Service back/)).toMatchObject({ value: 'not reached' });
    // What it fenced before it turned back is not fenced any more.
    const turnedBack = failoverReport(failoverThat({ outcome: 'aborted', steps }, { verifiedAt: null }));
    expect(figure(turnedBack, /cannot write/)).toBeUndefined();
    const text = markdownOf(report);
    expect(text).toContain('# Failover of shop: rejected');
    expect(text).toContain('Nobody decided anything.');
    expect(text).toContain('Nothing was fenced.');
    expect(text).toContain('nothing was promoted');
  });

  test.each([
    ['failed', 'failed'],
    ['rolled back', 'failed'],
    ['undo incomplete', 'failed'],
    ['not necessary', 'unchanged'],
    ['aborted', 'unchanged'],
  ] as const)('%s is %s', (outcome, verdict) => {
    expect(failoverReport(failoverThat({ outcome })).verdict).toBe(verdict);
  });

  test('is plain JSON of a version, and another version is not read as if it were this one', () => {
    const stored = JSON.parse(JSON.stringify(completed)) as Json;
    expect(stored).toEqual(completed);
    expect(readReport(stored)).toEqual(completed);
    expect(readReport({ ...(stored as object), formatVersion: 2 })).toBeNull();
    expect(readReport({ outcome: 'completed', steps: [] })).toBeNull();
    expect(readReport([])).toBeNull();
    expect(['json', 'md', 'html'].map((each) => layout.report(completed.id, each as 'md'))).toEqual([
      `reports/${completed.id}.json`,
      `reports/${completed.id}.md`,
      `reports/${completed.id}.html`,
    ]);
  });
});

test('a planned move proves that nothing was lost, and counts its outage from the first stop', () => {
  const position = (value: string) => ({ engine: 'fake', lineage: '1', value });
  const handOver = (store: string) => ({
    ...{ store, final: position('0/5000100'), reached: position('0/5000148'), at: at(715) },
    how: 'read-only, every session ended',
    evidence: completed.evidence![0]!,
  });
  const handOvers = ['orders', 'events', 'sessions'].map(handOver);
  const steps = [...completed.steps, { ...completed.steps[0]!, id: 'hand-over:orders' }];
  const verifiedAt = at(723.4);
  const switchover = { handOvers, following: [], stoppedAt: at(715), outageSeconds: 8.4 };
  const facts = failoverThat({ losses: [], lossesAtApproval: [], switchover, steps }, { verifiedAt });
  const report = failoverReport(facts);
  expect(report.id).toMatch(/^switchover-/);
  expect(figure(report, /Data loss/)).toMatchObject({
    value: 'none',
    note: expect.stringMatching(/^proven for 3 of 3 stores/),
  });
  expect(figure(report, /Service back/)).toMatchObject({
    value: '8.4 s',
    note: expect.stringMatching(/^since the first service was stopped/),
  });
  expect(report.stores[0]?.results.map(({ what, state }) => [what, state])).toEqual([
    ['handed over', 'done'],
    ['promoted', 'done'],
    ['written and read back', 'done'],
    ['standby at primary', 'waiting'],
  ]);
  expect(markdownOf(report)).toContain('| orders | none |');
  expect(markdownOf(report)).toContain('dr had 0/5000148 before it was promoted: read-only, every session ended');
  // One that did not hand over is no reason to say that nothing was lost.
  const partly = failoverReport({
    ...facts,
    result: { ...facts.result, switchover: { ...switchover, handOvers: [] } },
  });
  expect(figure(partly, /Data loss/)).toMatchObject({ value: 'unknown' });
});

test('a restore has the same report with fewer sections', () => {
  const steps = completed.steps
    .slice(0, 2)
    .map((step, index) => ({ ...step, id: ['open:orders', 'verify:orders'][index]! }));
  const report = copyReport({
    kind: 'restore',
    workflowId: 'restore:shop:r1',
    runId: 'r1',
    application: 'shop',
    requestedBy: 'sam',
    decisions: [],
    outcome: 'completed',
    verdict: 'achieved',
    because: 'restored orders',
    stores: [{ store: 'orders', engine: 'postgresql' }],
    steps,
    warnings: [],
    messages: [],
    startedAt: at(0),
    endedAt: at(713),
  });
  expect(report).toMatchObject({ id: 'restore-r1', formatVersion: 1 });
  expect(figuresOf(report).map(({ label, value }) => [label, value])).toEqual([
    ['Took', '11m 53s'],
    ['Stores', '1 of 1'],
  ]);
  for (const text of [markdownOf(report), htmlOf(report)]) {
    expect(text).toMatch(/Restore of shop: completed/);
    expect(text).not.toMatch(/Fence evidence|## Loss|>Loss<|Services|Names/);
  }
});

/** What somebody could write into a reason, a server into an error. */
const HOSTILE = `</style><script>alert(1)</script>"><img src=x onerror='x'> | [a](http://evil.test) **b** \u001b[31m\u202Ered\n# heading & &lt;`;

function hostileReport(): RunReport {
  const report = failoverReport(
    failoverThat(
      {
        reason: HOSTILE,
        steps: completed.steps.map((step) => ({ ...step, title: HOSTILE, note: HOSTILE })),
        evidence: completed.evidence!.map((each) => ({ ...each, how: HOSTILE, by: HOSTILE, stores: [HOSTILE] })),
        endpoints: completed.endpoints!.map((each) => ({ ...each, url: HOSTILE, problem: HOSTILE, address: HOSTILE })),
        losses: [{ ...loss('orders', 1), basis: HOSTILE }],
      },
      {
        input: { ...completedFailover.input, requestedBy: HOSTILE, reason: HOSTILE },
        decisions: [{ command: 'approve', by: HOSTILE, at: at(1), reason: HOSTILE, step: HOSTILE, note: HOSTILE }],
        messages: [HOSTILE],
      },
    ),
  );
  const named = report.stores.map((each) => ({ ...each, store: HOSTILE, engine: HOSTILE }));
  const services = report.services!.map((each) => ({ ...each, name: HOSTILE }));
  const dns = report.dns!.map((each) => ({ ...each, name: HOSTILE, values: [HOSTILE] }));
  return { ...report, application: HOSTILE, stores: named, services, dns, warnings: [HOSTILE], workflowId: HOSTILE };
}

describe('the page', () => {
  const page = htmlOf(completed);

  test('needs nothing else: no script, no link, no address to fetch, no styling by attributes', () => {
    expect(page).not.toMatch(/<script|<link|<img|<iframe|<object|<base\b|@import|url\(/i);
    expect(page).not.toMatch(/\s(?:src|href|style|on\w+)\s*=/i);
    expect(page.match(/https?:\/\/[^\s<"']+/g)).toEqual(expect.arrayContaining(['http://api.shop.test/health']));
    expect(page.match(/https?:\/\/(?!api\.shop\.test)/g)).toBeNull();
  });

  test('its policy allows its own style sheet and nothing else', () => {
    const [, style] = /<style>([^]*?)<\/style>/.exec(page) ?? [];
    const digest = createHash('sha256').update(style!).digest('base64');
    const [, policy] = /http-equiv="Content-Security-Policy" content="([^"]+)"/.exec(page) ?? [];
    expect(policy?.replaceAll('&#39;', "'")).toBe(
      `default-src 'none'; style-src 'sha256-${digest}'; base-uri 'none'; form-action 'none'`,
    );
    expect(page.indexOf('Content-Security-Policy')).toBeLessThan(page.indexOf('<style>'));
  });

  test('has a bar for every step, and its words beside it', () => {
    expect(page.match(/<rect\s+class="bar /g)).toHaveLength(completed.steps.length);
    expect(page).toContain('aria-label="done, began +11m 57s, took 1.2 s"');
    expect(page).toContain('the run waited (11m 25s)');
    for (const heading of ['Timeline', 'Decisions', 'Fence evidence', 'Loss', 'Stores', 'Services', 'Names'])
      expect(page).toContain(`<h2>${heading}</h2>`);
  });

  test('shows what people and servers wrote, and lets none of it be markup', () => {
    const hostile = htmlOf(hostileReport());
    const tags = (text: string) => new Set([...text.matchAll(/<\/?([a-z0-9!]+)/gi)].map(([, name]) => name));
    expect([...tags(hostile)].filter((name) => !tags(page).has(name) && name !== 'ul' && name !== 'li')).toEqual([]);
    expect(hostile).not.toMatch(/<script|<img|\sonerror\s*=\s*'/);
    expect(hostile).toContain('&lt;script&gt;alert(1)&lt;/script&gt;&quot;&gt;&lt;img src=x onerror=&#39;x&#39;&gt;');
    for (const sign of ['\u001b', '\u202E']) expect(hostile).not.toContain(sign);
    // What was written as an entity is shown as it was written.
    expect(hostile).toContain('# heading &amp; &amp;lt;');
    expect(hostile.match(/<\/style>/g)).toHaveLength(1);
  });

  test('a piece is put in as it is, anything else is escaped', () => {
    expect(html`<p title="${'"'}">${'<'}${html`<b>${"'&"}</b>`}${null}${[1, '>']}</p>`.text).toBe(
      '<p title="&quot;">&lt;<b>&#39;&amp;</b>1&gt;</p>',
    );
  });
});

describe('the Markdown', () => {
  test('reads as text: the verdict, the numbers, the steps', () => {
    const text = markdownOf(completed);
    expect(text).toMatch(/^# Failover of shop: completed\n\n\*\*primary → dr\*\*, epoch 7\.\nshop runs at dr\./);
    expect(text).toContain('| Data loss | **at most 12m 32s** | as dana approved it;');
    expect(text).toContain('| +11m 57s | 1.2 s | Promote orders at dr | done | promoted at 0/5000148 |');
    expect(text).toContain('| 2026-11-22 13:06:35 UTC | erin | approve | not taken: orders: at most 160 s now');
    expect(text).toContain('- **proven** for orders, events, sessions: agent killed 5 processes');
    expect(text).toContain('- api.shop.test → 10.0.2.100 (TTL 1m 0s): done: 2 authoritative servers answer so');
  });

  test('what people and servers wrote stays on its line and is no markup', () => {
    const text = markdownOf(hostileReport());
    for (const sign of ['\u001b', '\u202E']) expect(text).not.toContain(sign);
    expect(text.split('\n').filter((line) => /^#+ heading/.test(line.trim()))).toEqual([]);
    expect(text).not.toMatch(/(?<!\\)[<>]/);
    expect(text).toContain('\\[a\\](http://evil.test) \\*\\*b\\*\\*');
    // As many cells in every row of a table as in its header.
    const cells = (line: string) => line.match(/(?<!\\)\|/g)?.length;
    const tables = text.split('\n\n').filter((block) => block.startsWith('| '));
    expect(tables.length).toBeGreaterThan(3);
    for (const block of tables) {
      const [header, ...rows] = block.split('\n').filter((line) => line.startsWith('|'));
      for (const row of rows) expect({ row, cells: cells(row) }).toEqual({ row, cells: cells(header!) });
    }
  });

  test('names of stores are left readable', () => {
    const report = { ...completed, application: 'ultra_market_2', messages: ['_not_ this'] };
    expect(markdownOf(report)).toContain('# Failover of ultra_market_2: completed');
    expect(markdownOf(report)).toContain('- \\_not\\_ this');
  });
});

describe('the axis of time', () => {
  test('is linear where something ran, and a long wait is drawn short', () => {
    const scale = timeScale([
      [0, 10_000],
      [610_000, 620_000],
    ]);
    expect(scale.pauses).toEqual([{ at: expect.closeTo(0.465, 5), width: 0.07, seconds: 600 }]);
    expect([0, 5_000, 10_000, 610_000, 620_000].map((time) => scale.at(time))).toEqual(
      [0, 0.2325, 0.465, 0.535, 1].map((share) => expect.closeTo(share, 5)),
    );
    expect(scale.ticks.map(({ seconds }) => seconds)).toEqual([0, 5, 10, 615, 620]);
  });

  test('a run of one instant is drawn, and so is none', () => {
    expect(timeScale([[5, 5]])).toMatchObject({ pauses: [], ticks: [{ at: 0, seconds: 0 }] });
    expect(timeScale([]).at(1)).toBe(0);
  });

  test.each(seedsOfRounds(20))('never goes back, ends where it ends, and has few ticks (seed %d)', (seed) => {
    const { integer } = randomOf(seed);
    const begin = 1_000_000 + integer(1_000_000);
    const spans = Array.from({ length: 1 + integer(30) }, () => {
      const from = begin + integer(10 ** (1 + integer(8)));
      return [from, from + integer(10 ** (1 + integer(6)))] as const;
    });
    const scale = timeScale(spans);
    const times = spans.flat().toSorted((a, b) => a - b);
    const shares = times.map((time) => scale.at(time));
    expect({ seed, shares }).toEqual({ seed, shares: shares.toSorted((a, b) => a - b) });
    expect(shares[0]).toBe(0);
    expect(shares.at(-1)).toBeCloseTo(new Set(times).size > 1 ? 1 : 0, 6);
    expect(scale.ticks.length).toBeLessThanOrEqual(14);
    for (const { at: share } of scale.ticks) expect(share).toBeGreaterThanOrEqual(0);
  });
});
