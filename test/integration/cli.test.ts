import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestWorkflowEnvironment } from '@temporalio/testing';
import { failure } from '../../core/errors';
import { taskQueues, workflowIds } from '../../core/names';
import type { RestorePlan } from '../../core/recovery';
import { main } from '../../starters/main';
import { createRepository } from '../../adapters/repository';
import { loadConfig } from '../../config/load';
import { writeReport } from '../../core/report/write';
import { checkedItem, fakeChecklistWorld } from '../support/fake-checklist';
import { type FakeWorld, fakeFailoverWorld } from '../support/fake-failover';
import { type RecordingOptions, recordingIo } from '../support/recording-io';
import { waitUntil } from '../support/servers';
import { shop } from '../support/shop-application';
import {
  type FakeActivities,
  localEnvironment,
  stopWorkflowWorker,
  withWorkers,
} from '../support/workflow-environment';

let env: TestWorkflowEnvironment;
let folder: string;
let config: string;

/** The real workflows on a real Temporal; only what lies behind the activities is pretended. */
beforeAll(async () => {
  env = await localEnvironment();
  folder = mkdtempSync(join(tmpdir(), 'drctl-cli-'));
  config = join(folder, 'shop.yaml');
  const text = readFileSync('config/examples/ultramarket.yaml', 'utf8')
    .replace('application: ultramarket', `application: ${shop.name}`)
    .replace('temporal.ultramarket.internal:7233', env.address)
    .replaceAll('orders-db', 'orders')
    // The control repository, where reports are.
    .replace(/kind: s3\n +bucket: ultramarket-offsite\n +region: .*/, `kind: local\n    directory: ${folder}/offsite`);
  writeFileSync(config, text);
}, 120_000);

afterAll(async () => {
  await env?.teardown();
  rmSync(folder, { recursive: true, force: true });
});

function drctl(argv: string[], options: RecordingOptions = {}) {
  const io = recordingIo(options);
  return { io, ended: main([...argv, '--config', config], io) };
}

async function withWorld(activities: FakeActivities, act: () => Promise<void>): Promise<void> {
  const queues = [taskQueues.site(shop.name, 'dr'), taskQueues.site(shop.name, 'primary'), 'host-of-the-test'];
  await withWorkers(env, activities, queues, async () => {
    try {
      await act();
    } finally {
      for await (const { workflowId } of env.client.workflow.list({ query: "ExecutionStatus = 'Running'" })) {
        // What a failed test left; a run that ended meanwhile needs nothing.
        await env.client.workflow
          .getHandle(workflowId)
          .terminate()
          .catch(() => {});
      }
    }
  });
}

const START = ['failover', 'start', '--to', 'dr', '--reason', 'the data centre is dark'];

async function waits(io: { text(): string }, what: RegExp): Promise<void> {
  await waitUntil(`the command to say ${what}`, async () => what.test(io.text()), { deadlineMs: 30_000 });
}

describe('failover', () => {
  let world: FakeWorld;
  beforeEach(() => {
    world = fakeFailoverWorld();
  });

  test('shows the card, refuses the requester, takes another approver, and ends with the result', async () => {
    await withWorld(world.activities, async () => {
      // dana starts it; on the terminal she says "dr" and her own name, which the policy refuses.
      const { io, ended } = drctl(START, { answers: ['dr', ''] });
      await waits(io, /approve: refused: .*\n?/);
      expect(io.text()).toMatch(/Fail shop over from primary to dr\?/);
      expect(io.text()).toMatch(/orders +at most +2\.5 s +10 +1000 B +within the objective/);
      const status = drctl(['failover', 'status']);
      expect(await status.ended).toBe(0);
      expect(status.io.text()).toMatch(/waiting for approval[^]*drctl failover approve --by <name>/);
      const approve = drctl(['failover', 'approve', '--by', 'erin']);
      expect(await approve.ended).toBe(0);
      expect(approve.io.text()).toContain('approve: accepted, by erin.');
      expect(await ended).toBe(0);
      expect(io.text()).toMatch(/✔ Promote orders/);
      expect(io.text()).toMatch(/Failover primary → dr: completed[^]*approved by +erin/);

      // Afterwards: a command for a finished run is one clear error and changes nothing.
      const late = drctl(['failover', 'approve', '--by', 'erin']);
      expect(await late.ended).toBe(3);
      expect(late.io.text()).toMatch(/is not running: it ended, or was never started/);
    });
  });

  test('a switchover says that nothing is lost, is decided by its own commands, and names what is left to do', async () => {
    world.verdict = { alive: true, healthy: true };
    await withWorld(world.activities, async () => {
      const { io, ended } = drctl(['switchover', 'start', '--to', 'dr', '--reason', 'maintenance']);
      await waits(io, /To decide: +drctl switchover approve/);
      expect(io.text()).toMatch(/Switch shop over from primary to dr\?[^]*What would be lost: nothing/);
      const status = drctl(['switchover', 'status']);
      expect(await status.ended).toBe(0);
      expect(status.io.text()).toMatch(/Switchover of shop primary → dr: waiting for approval/);
      const failover = drctl(START);
      expect(await failover.ended).toBe(40);
      expect(failover.io.text()).toContain('role-change:shop is running already');
      expect(await drctl(['switchover', 'approve', '--by', 'erin']).ended).toBe(0);
      expect(await ended).toBe(0);
      expect(io.text()).toMatch(
        /Switchover primary → dr: completed[^]*! orders has no standby at primary yet: rebuild it/,
      );
    });
  });

  test('--yes approves unattended, as JSON for a script', async () => {
    await withWorld(world.activities, async () => {
      const { io, ended } = drctl([...START, '--yes', '--by', 'erin', '--output', 'json']);
      expect(await ended).toBe(0);
      expect(JSON.parse(io.outLines.join('\n'))).toMatchObject({ outcome: 'completed', approvedBy: 'erin' });
    });
  });

  test('--yes in the name of the requester is refused, and the failover keeps waiting', async () => {
    await withWorld(world.activities, async () => {
      const { io, ended } = drctl([...START, '--yes']);
      expect(await ended).toBe(2);
      expect(io.text()).toMatch(/dana cannot approve this failover[^]*The failover waits for an approver/);
      expect(world.calls).not.toContain('promoteStore:orders');
      const reject = drctl(['failover', 'reject', '--by', 'erin', '--reason', 'not today']);
      expect(await reject.ended).toBe(0);
    });
  });

  test('a second one is refused while one runs; Ctrl-C leaves it running and says how to return', async () => {
    await withWorld(world.activities, async () => {
      const { io, ended } = drctl(START);
      await waits(io, /To decide: +drctl failover approve/);
      const second = drctl(START);
      expect(await second.ended).toBe(40);
      expect(second.io.text()).toContain('role-change:shop is running already');
      io.interrupt();
      expect(await ended).toBe(130);
      expect(io.text()).toMatch(
        /role-change:shop goes on without you[^]*drctl failover status --follow[^]*Web UI: +https/,
      );
      const description = await env.client.workflow.getHandle(workflowIds.roleChange(shop.name)).describe();
      expect(description.status.name).toBe('RUNNING');
      // The way back works, also to its end.
      const back = drctl(['failover', 'status', '--follow']);
      await waits(back.io, /Fail shop over/);
      expect(await drctl(['failover', 'reject', '--by', 'erin', '--reason', 'a false alarm']).ended).toBe(0);
      expect(await back.ended).toBe(33);
      expect(back.io.text()).toMatch(/rejected[^]*a false alarm/);
    });
  });

  test('without a worker a decision is kept by Temporal, and the command says so', async () => {
    await stopWorkflowWorker(env);
    await env.client.workflow.start('failOver', {
      workflowId: workflowIds.roleChange(shop.name),
      taskQueue: taskQueues.workflows,
      args: [{ application: shop.name, toSite: 'dr', requestedBy: 'sam', reason: 'x' }],
    });
    const { io, ended } = drctl(['failover', 'abort', '--by', 'erin', '--reason', 'wrong button']);
    expect(await ended).toBe(0);
    expect(io.text()).toContain('abort: no worker answers now; Temporal keeps it');
    await env.client.workflow.getHandle(workflowIds.roleChange(shop.name)).terminate();
  });
});

describe('restore', () => {
  const plan: RestorePlan = {
    store: 'orders',
    engine: 'postgresql',
    target: { kind: 'latest' },
    chain: ['20261122T020000Z-full-1a2b3c4d'],
    lineage: '1',
    log: null,
    reaches: { time: '2026-11-22T13:05:03.000Z', position: null, exact: true },
    downloadBytes: 2_048,
    notes: ['the log ends 2 s before now'],
  };

  const storeReport: FakeActivities['storeReport'] = async ({ report }) => `reports/${report.id}.json`;

  function restoring(calls: string[]): FakeActivities {
    const restored = {
      directory: '/restore/x',
      state: 'open' as const,
      address: { host: '127.0.0.1', port: 7001 },
      reachedPosition: null,
      reachedTime: plan.reaches.time,
      notes: [],
    };
    return {
      planRestores: async () => ({ hostQueue: 'host-of-the-test', plans: [plan] }),
      rebuildStore: async () => {
        calls.push('rebuild');
        return [];
      },
      replayLog: async () => restored,
      openStore: async () => restored,
      fingerprintStore: async () => ({ algorithm: 'fake', items: [{ name: 'orders', count: 42, digest: 'd' }] }),
      storeReport,
    };
  }
  const RESTORE = ['restore', 'orders', '--to', 'latest', '--into', '/restore/x', '--site', 'dr'];

  test('shows the plan and asks; yes restores', async () => {
    const calls: string[] = [];
    await withWorld(restoring(calls), async () => {
      const { io, ended } = drctl(RESTORE, { answers: ['yes'] });
      expect(await ended).toBe(0);
      expect(io.notes.join('\n')).toMatch(
        /Plan of the restore[^]*reaches +2026-11-22T13:05:03[^]*into +\/restore\/x[^]*note +the log ends[^]*Restore this\?/,
      );
      expect(io.outLines.join('\n')).toMatch(/orders +open +2026-11-22T13:05:03Z +127\.0\.0\.1:7001 +\/restore\/x +42/);
      expect(calls).toEqual(['rebuild']);
    });
  });

  test('no changes nothing', async () => {
    const calls: string[] = [];
    await withWorld(restoring(calls), async () => {
      const { io, ended } = drctl(RESTORE, { answers: ['no'] });
      expect(await ended).toBe(33);
      expect(io.text()).toContain('Data:   Nothing was restored.');
      expect(calls).toEqual([]);
    });
  });

  test('an error of the plan keeps its class, its words and its exit code', async () => {
    const activities: FakeActivities = {
      planRestores: async () => {
        throw failure(
          'PitrTargetUnreachable',
          'orders cannot be restored to 2020: it can from 2026-11-01 to 2026-11-22',
        );
      },
      storeReport,
    };
    await withWorld(activities, async () => {
      const { io, ended } = drctl([...RESTORE, '--yes']);
      expect(await ended).toBe(21);
      expect(io.text()).toMatch(
        /Failed: orders cannot be restored to 2020.*\nWhere: +workflow restore:shop:.*\(PitrTargetUnreachable\)\nData: +Nothing was restored/,
      );
    });
  });
});

test('TTLs are lowered and restored from the command line, and what is no TTL is refused', async () => {
  const world = fakeFailoverWorld();
  await withWorld(world.activities, async () => {
    const lower = drctl(['dns', 'lower-ttl', '--to', '5s']);
    expect(await lower.ended).toBe(0);
    const said = 'api.shop.test: 5 s instead of 60 s; switch over after 2026-01-01T00:00:00Z';
    expect(lower.io.outLines).toEqual([said]);
    const restore = drctl(['dns', 'restore-ttl']);
    expect(await restore.ended).toBe(0);
    expect(restore.io.outLines).toEqual(['No TTL was lowered.']);
    expect(world.calls).toEqual(['lowerTtl:api.shop.test 5 of epoch 0', 'restoreTtl:api.shop.test of epoch 0']);
    const wrong = drctl(['dns', 'lower-ttl', '--to', '500ms']);
    expect(await wrong.ended).toBe(2);
    expect(wrong.io.text()).toContain('a TTL is whole seconds, at least 1s');
  });
});

test('a backup that fails ends with the exit code of its reason, and the runs are listed', async () => {
  const activities: FakeActivities = {
    describeApplication: async () => ({ application: shop, activeSite: 'primary', epoch: 0 }),
    prepareBackup: async () => {
      throw failure('AccessDenied', 'the repository cloud refuses its credentials');
    },
    notify: async () => [],
  };
  await withWorld(activities, async () => {
    const { io, ended } = drctl(['backup', 'orders']);
    expect(await ended).toBe(12);
    expect(io.text()).toContain('orders: FAILED, the repository cloud refuses its credentials');
    await waitUntil('the run in the list', async () => {
      const runs = drctl(['runs', 'list', '--output', 'json']);
      expect(await runs.ended).toBe(0);
      const listed = JSON.parse(runs.io.outLines.join('\n')) as { workflowId: string; status: string }[];
      return listed.some(({ workflowId, status }) => workflowId.startsWith('launch:shop:') && status === 'completed');
    });
  });
});

test('a checklist is shown with its evidence and signed by name; what ended is listed by its report', async () => {
  const world = fakeChecklistWorld([checkedItem('backup-status', 'backups'), checkedItem('training', null, true)]);
  const { repositories } = loadConfig(config);
  const control = createRepository('offsite', repositories['offsite']!, shop.name);
  world.activities.storeReport = ({ report }) => writeReport(control, report);
  await withWorld(world.activities, async () => {
    const list = async (...argv: string[]) => {
      const { io, ended } = drctl(['checklist', ...argv]);
      return { exitCode: await ended, text: io.text() };
    };
    const handle = await env.client.workflow.start('workThroughChecklist', {
      taskQueue: taskQueues.workflows,
      workflowId: 'shop-weekly-2026-11-23T06:00:00Z',
      args: [{ application: shop.name, period: 'weekly', requestedBy: 'schedule weekly' }],
    });
    await waitUntil('the list being open', async () => (await list('list')).text.includes('1 to sign of 2'));
    expect(await list('list')).toMatchObject({
      exitCode: 0,
      text: expect.stringMatching(/^weekly +1 to sign of 2 +in 6d +shop-weekly.*Z\n\nNo list has ended yet/m) as string,
    });
    expect((await list('show', 'weekly')).text).toMatch(
      /✔ backup-status .*\n +found: every store is healthy.*\n  · training .*\n +waits for a person/,
    );

    expect(await list('sign', 'trainin', '--note', 'x')).toMatchObject({
      exitCode: 3,
      text: expect.stringContaining('open are: backup-status, training') as string,
    });
    expect(await list('sign', 'backup-status', '--note', 'x')).toMatchObject({
      exitCode: 2,
      text: expect.stringContaining('backup-status holds and needs no signature') as string,
    });
    expect(await list('sign', 'training', '--by', 'sam', '--note', 'restored orders')).toEqual({
      exitCode: 0,
      text: 'Signed training of the weekly list, by sam.',
    });
    await expect(handle.result()).resolves.toMatchObject({ outcome: 'done' });
    expect((await list('list')).text).toMatch(/^weekly: done +20.*Z +\d+s ago +checklist-/m);
    const { io, ended } = drctl(['report', 'show']);
    await ended;
    expect(io.text()).toMatch(/sam \| sign training \| restored orders/);
  });
});
