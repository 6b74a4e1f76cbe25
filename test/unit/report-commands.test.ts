import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, delimiter, dirname, join } from 'node:path';
import type { ActivityDeps } from '../../activities/deps';
import { createReportActivities } from '../../activities/report';
import { loadConfig } from '../../config/load';
import { failoverReport } from '../../core/report/from-failover';
import { htmlOf } from '../../core/report/html';
import { markdownOf } from '../../core/report/markdown';
import type { RunReport } from '../../core/report/run-report';
import { launcherFor } from '../../starters/desktop';
import { main } from '../../starters/main';
import { openApplication } from '../../workers/wiring';
import { completedFailover, failoverThat } from '../support/failover-facts';
import { inActivity } from '../support/in-activity';
import { recordingIo } from '../support/recording-io';

let folder: string;
let config: string;
let stored: string;
let storeReport: (report: RunReport) => Promise<string>;

/** The example application with its control repository in a folder here. */
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'drctl-reports-'));
  config = join(folder, 'ultramarket.yaml');
  const example = readFileSync('config/examples/ultramarket.yaml', 'utf8');
  const local = `  offsite:\n    kind: local\n    directory: ${folder}\n`;
  const text = example.replace(/ {2}offsite:[^]*?region: eu-central-1\n/, local);
  if (text === example) throw new Error('the example has no repository "offsite" any more');
  writeFileSync(config, text);
  const opened = await openApplication(loadConfig(config));
  stored = join(opened.control.location, 'reports');
  const activities = createReportActivities({ open: () => opened } as Partial<ActivityDeps> as ActivityDeps);
  storeReport = (report) => inActivity(() => activities.storeReport({ application: 'ultramarket', report }));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function drctl(argv: readonly string[], env: Record<string, string> = {}) {
  const io = recordingIo({ env });
  return { exitCode: await main([...argv, '--config', config], io), out: io.outLines.join('\n'), text: io.text() };
}

const older = failoverReport(
  failoverThat(
    { outcome: 'rejected', reason: 'erin: a false alarm' },
    { runId: '0199f3a2-0000-7000-8000-000000000001' },
  ),
);
const newest = failoverReport(completedFailover);

/** Where both fall into one instant the ids decide. */
async function storeBoth(): Promise<void> {
  await storeReport(older);
  await storeReport(newest);
}

const bytesOf = () =>
  Object.fromEntries(readdirSync(stored).map((name) => [name, readFileSync(join(stored, name), 'utf8')]));

test('a report is stored in its three forms, and again with the same bytes', async () => {
  await expect(storeReport(newest)).resolves.toBe(`reports/${newest.id}.json`);
  const first = bytesOf();
  expect(first).toEqual({
    [`${newest.id}.json`]: `${JSON.stringify(newest, null, 2)}\n`,
    [`${newest.id}.md`]: markdownOf(newest),
    [`${newest.id}.html`]: htmlOf(newest),
  });
  await storeReport(newest);
  expect(bytesOf()).toEqual(first);
});

test('list shows how each run ended, newest first, and what it cannot read by its id', async () => {
  expect((await drctl(['report', 'list'])).out).toBe('There are no reports yet.');
  await storeBoth();
  const { exitCode, out } = await drctl(['report', 'list']);
  expect(exitCode).toBe(0);
  const [header, first, second] = out.split('\n');
  expect(header).toMatch(/^REPORT +OUTCOME +MOVE +ASKED FOR BY +STORED +AGE/);
  expect(first).toMatch(new RegExp(`^${newest.id} +completed +primary → dr +sam +\\d{4}-.*ago$`));
  expect(second).toMatch(new RegExp(`^${older.id} +rejected `));
  writeFileSync(join(stored, 'failover-future.json'), '{"formatVersion": 99}');
  writeFileSync(join(stored, 'failover-damaged.json'), '{"formatVersion": 1,');
  expect((await drctl(['report', 'list'])).out).toMatch(/^failover-damaged +cannot be read /m);
  const json = await drctl(['report', 'list', '--output', 'json']);
  expect(JSON.parse(json.out)).toMatchObject([
    { id: expect.stringMatching(/^failover-(future|damaged)$/), report: null },
    { id: expect.stringMatching(/^failover-(future|damaged)$/), report: null },
    { id: newest.id, report: { kind: 'failover', outcome: 'completed', verdict: 'achieved' } },
    { id: older.id, report: { outcome: 'rejected' } },
  ]);
  expect((await drctl(['report', 'list', '--limit', '1'])).out.split('\n')).toHaveLength(2);
});

test('show prints the newest or the named one, as stored, in every form', async () => {
  await storeBoth();
  expect((await drctl(['report', 'show'])).out).toBe(markdownOf(newest).trimEnd());
  expect((await drctl(['failover', 'report'])).out).toBe(markdownOf(newest).trimEnd());
  expect((await drctl(['report', 'show', older.id])).out).toContain('Failover of shop: rejected');
  expect(JSON.parse((await drctl(['report', 'show', older.id, '-o', 'json'])).out)).toEqual(older);
  expect((await drctl(['report', 'show', '--format', 'html'])).out).toBe(htmlOf(newest).trimEnd());
  const unknown = await drctl(['report', 'show', 'failover-nowhere']);
  expect(unknown.exitCode).toBe(3);
  expect(unknown.text).toMatch(/there is no report "failover-nowhere"[^]*drctl report list/);
});

test('show writes a file, the same one again, and never over another', async () => {
  await storeBoth();
  const file = join(folder, 'report.html');
  for (const _ of ['once', 'again']) {
    const { exitCode, out } = await drctl(['report', 'show', '--format', 'html', '--to', file]);
    expect({ exitCode, out }).toEqual({ exitCode: 0, out: `${newest.id} is in ${file}` });
    expect(readFileSync(file, 'utf8')).toBe(htmlOf(newest));
  }
  const refused = await drctl(['report', 'show', older.id, '--format', 'html', '--to', file]);
  expect(refused.exitCode).toBe(2);
  expect(refused.text).toMatch(/report\.html exists already and is not this report/);
  expect(readFileSync(file, 'utf8')).toBe(htmlOf(newest));
  expect((await drctl(['report', 'show', '--to', join(folder, 'no', 'such', 'folder')])).exitCode).toBe(2);
});

test('open hands the page to the desktop, and where there is none says where the page is', async () => {
  await storeBoth();
  const made: string[] = [];
  const pageOf = (out: string) => {
    made.push(dirname(out));
    return readFileSync(out, 'utf8');
  };
  try {
    const without = await drctl(['report', 'open']);
    expect(without.exitCode).toBe(0);
    expect(pageOf(without.out)).toBe(htmlOf(newest));
    expect(without.text).toContain('There is no desktop here');

    const program = join(folder, launcherFor(process.platform, { DISPLAY: ':0' })!);
    writeFileSync(program, `#!/bin/sh\nprintf %s "$1" > '${folder}/opened'\n`);
    chmodSync(program, 0o755);
    const desktop = { DISPLAY: ':0', PATH: [folder, '/usr/bin', '/bin'].join(delimiter) };
    const shown = await drctl(['report', 'open', older.id], desktop);
    expect(pageOf(shown.out)).toBe(htmlOf(older));
    expect(basename(shown.out)).toBe(`${older.id}.html`);
    expect(readFileSync(join(folder, 'opened'), 'utf8')).toBe(shown.out);
    expect(shown.text).not.toContain('no desktop');

    const missing = await drctl(['report', 'open', '-o', 'json'], { DISPLAY: ':0', PATH: '/nowhere' });
    expect(JSON.parse(missing.out)).toMatchObject({ id: newest.id, shown: false });
    pageOf((JSON.parse(missing.out) as { file: string }).file);
  } finally {
    for (const each of made) rmSync(each, { recursive: true });
  }
});
