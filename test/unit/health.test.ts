import { MockActivityEnvironment } from '@temporalio/testing';
import type { ActivityDeps } from '../../activities/deps';
import { createHealthActivities } from '../../activities/health';
import type { DamagedManifest } from '../../core/catalog-store';
import type { CheckHealthResult } from '../../core/runs';
import { manifestOf } from '../support/manifests';

const damage: DamagedManifest = {
  store: 'orders',
  backupId: '20261120T020000Z-full-00000001',
  problem: 'catalog/orders/20261120T020000Z-full-00000001.json is not JSON',
};

async function healthOf(damaged: readonly DamagedManifest[]): Promise<CheckHealthResult> {
  const newest = manifestOf('20261121T020000Z-full-00000002', [], { committedAt: new Date().toISOString() });
  const open = {
    application: { stores: [{ name: 'orders', rpoSeconds: 60 }], backup: { maxAgeHours: 24 } },
    catalog: () => ({ list: async () => [newest], damaged: async () => damaged }),
    logArchive: () => null,
  };
  const deps = { open: () => open } as unknown as ActivityDeps;
  const health = createHealthActivities(deps);
  return new MockActivityEnvironment().run(() => health.checkStores({ application: 'shop' }));
}

test('a store with a fresh backup is healthy; a manifest that cannot be read beside it is shown', async () => {
  expect((await healthOf([])).stores).toMatchObject([{ status: 'healthy', reasons: [] }]);
  const { stores } = await healthOf([damage]);
  expect(stores).toMatchObject([{ status: 'warning', reasons: [expect.stringContaining(damage.problem)] }]);
});
