import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { OpenApplication } from '../../activities/deps';
import { createRepository } from '../../adapters/repository';
import type { Json } from '../../core/catalog';
import type { Divergence } from '../../core/divergence';
import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { Position } from '../../core/positions';
import { failoverReport } from '../../core/report/from-failover';
import { readReport } from '../../core/report/run-report';
import { writeReport } from '../../core/report/write';
import { measureLoss } from '../../starters/measure-loss';
import { Session } from '../../starters/session';
import { expectFailure } from '../support/expect-failure';
import { completedFailover, failoverThat } from '../support/failover-facts';
import { recordingIo } from '../support/recording-io';

const report = failoverReport(completedFailover);

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'drctl-measure-'))));
afterEach(() => rmSync(folder, { recursive: true, force: true }));

type Changes = Pick<Divergence, 'operations' | 'seconds'>;

/**
 * A session over a control repository in a folder; `bytes` is what each store's two sides say, or why they cannot; `changes` what
 * an engine reads in its log.
 */
function sessionWith(
  bytes: Readonly<Record<string, number | string>>,
  epoch = 7,
  changes: Readonly<Record<string, Changes>> = {},
) {
  const control = createRepository('control', { kind: 'local', directory: folder, prefix: '' }, 'shop');
  const divergence = (store: string) => async (from: string, to: string) => {
    const found = bytes[store] ?? 'it does not answer';
    if (typeof found === 'string') throw failure('RoleMismatch', found);
    const position = { engine: 'fake', lineage: '1', value: '42' };
    return {
      store,
      fork: position,
      end: position,
      bytes: found,
      ...(changes[store] ?? { operations: null, seconds: null }),
      how: `${to} left ${from} ${found} bytes before its end`,
    };
  };
  const open = {
    control,
    epochs: { current: async () => ({ epoch, workflowId: 'role-change:shop' }) },
    engine: (store: string) => ({
      replication: { divergence: divergence(store), state: async () => null },
      positions: { compare: (a: Position, b: Position) => Number(a.value) - Number(b.value) },
    }),
  } as unknown as OpenApplication;
  const io = recordingIo();
  const session = new Session(io, {});
  session.open = async () => open;
  const stored = async () => {
    const text = (await control.read(layout.report(report.id, 'json'))).toString('utf8');
    return readReport(JSON.parse(text) as Json);
  };
  return { session, io, control, stored };
}

test('what was lost stands beside what was approved, in all forms of the report; what cannot be read stays unknown', async () => {
  const { session, io, control, stored } = sessionWith({
    orders: 4_096,
    events: 'its members settled it',
    sessions: 0,
  });
  await writeReport(control, report);
  await measureLoss(session, null);
  const actual = (await stored())?.loss?.stores.map((each) => each.actual);
  expect(actual).toEqual([
    { certainty: 'measured', bytes: 4_096, operations: null, seconds: null, basis: expect.stringContaining('dr left') },
    { certainty: 'not known', bytes: null, operations: null, seconds: null, basis: 'its members settled it' },
    { certainty: 'proven', bytes: 0, operations: 0, seconds: 0, basis: expect.stringContaining('0 bytes') },
  ]);
  expect((await stored())?.messages.at(-1)).toMatch(/^what was lost was read from primary at .*: orders, sessions$/);
  expect((await control.read(layout.report(report.id, 'md'))).toString('utf8')).toMatch(/\| orders .*4\.0 KiB \|/);
  expect(io.text()).toMatch(/orders +≤ .*changes.* +time unknown · changes unknown · 4/);
});

test('what an engine reads in its log is told, and what it cannot read is bounded by the samples that were kept with the run', async () => {
  const read = { orders: { operations: 12, seconds: 3.5 }, events: { operations: 0, seconds: 0 } };
  const { session, control, stored } = sessionWith({ orders: 4_096, events: 512, sessions: 200 }, 7, read);
  await writeReport(control, report);
  // Sampled every two seconds, the last time six before the site was seen to refuse writes; 40 of 42 had arrived.
  const fencedAt = Date.parse(report.evidence?.[0]?.at ?? '');
  const sampled = [38, 40, 41].map((value, index) => {
    const at = new Date(fencedAt - 10_000 + index * 2_000).toISOString();
    const position = { engine: 'fake', lineage: '1', value: `${value}` };
    const primary = { at, position, bytes: null, operations: value * 10 };
    return { store: 'sessions', takenAt: at, primary, standby: null };
  });
  const samples = { sessions: sampled };
  await control.put(layout.samplesOfRun(report.runId), Buffer.from(JSON.stringify(samples)));
  await measureLoss(session, null);
  expect((await stored())?.loss?.stores.map((each) => each.actual)).toMatchObject([
    { certainty: 'measured', bytes: 4_096, operations: 12, seconds: 3.5 },
    { certainty: 'proven', bytes: 512, operations: 0, seconds: 0 },
    { certainty: 'measured', bytes: 200, operations: null, seconds: 6, basis: expect.stringContaining('samples') },
  ]);
  const text = (await control.read(layout.report(report.id, 'md'))).toString('utf8');
  expect(text).toMatch(/\| orders .*3\.5 s · 12 changes · 4\.0 KiB/);
  expect(text).toMatch(/\| events .*\| none/);
});

test('what was read once is not forgotten when the old primary is rebuilt', async () => {
  const first = sessionWith({ orders: 4_096, events: 10, sessions: 20 });
  await writeReport(first.control, report);
  await measureLoss(first.session, report.id);
  const measured = (await first.stored())?.loss;
  const later = sessionWith({});
  await measureLoss(later.session, report.id);
  expect((await later.stored())?.loss).toEqual(measured);
});

test('a newer role change, and a run that promoted nothing, have nothing to measure', async () => {
  const { session, control } = sessionWith({}, 8);
  await writeReport(control, report);
  await expectFailure(measureLoss(session, report.id), 'StaleEpoch', 'is of epoch 7');
  const nothing = failoverReport(failoverThat({ outcome: 'rejected', steps: [], epoch: null }, { runId: 'rejected' }));
  await writeReport(control, nothing);
  await expectFailure(measureLoss(session, nothing.id), 'UsageInvalid', 'nothing was promoted');
});
