import { type HealthDay, withHealth, withReadiness } from '../../core/day-records';
import type { HealthStatus } from '../../core/monitoring/store-view';
import { countBackups, countFailures, EMPTY_TALLY } from '../../core/monitoring/tally';
import { manifestOf } from '../support/manifests';

const look = (clock: string, status: HealthStatus, rpoSeconds: number | null) => ({
  at: `2026-11-23T${clock}:00.000Z`,
  stores: [
    {
      ...{ store: 'orders', status, rpoSeconds, reasons: [], problems: [] },
      ...{ lastBackupAt: null, lastBackupAgeHours: null },
    },
  ],
});
const objectives = { orders: 900 };

test('a day of health checks: what was at risk, how often it was too much, how often nobody knew', () => {
  const looks = [look('10:00', 'healthy', 5), look('10:05', 'error', 1_000), look('10:10', 'error', null)];
  const day = looks.reduce<HealthDay | null>((before, each) => withHealth(before, each, objectives), null);
  expect(day).toMatchObject({ day: '2026-11-23', lastAt: '2026-11-23T10:10:00.000Z' });
  expect(day?.stores['orders']).toEqual({
    ...{ looks: 3, healthy: 1, warning: 0, error: 2 },
    ...{ rpoUnknown: 1, rpoOver: 1, rpoWorstSeconds: 1_000 },
  });
  // A step that is repeated counts nothing twice.
  expect(withHealth(day, look('10:10', 'error', null), objectives)).toBe(day);
});

test('a day of looks at the readiness keeps the worst score', () => {
  const first = withReadiness(null, { at: '2026-11-23T10:30:00.000Z', verdict: 'ready', score: 100 });
  const second = withReadiness(first, { at: '2026-11-23T11:30:00.000Z', verdict: 'not ready', score: 60 });
  expect(second).toMatchObject({ looks: 2, ready: 1, lowestScore: 60 });
  expect(withReadiness(second, { at: '2026-11-23T11:30:00.000Z', verdict: 'ready', score: 100 })).toBe(second);
});

test('backups are counted by the day on which they ended, a hundred days at most', () => {
  const backup = (day: number) => {
    const committedAt = new Date(Date.UTC(2026, 0, day, 2, 10)).toISOString();
    const id = `${committedAt.slice(0, 10).replaceAll('-', '')}T020000Z-full-00000001`;
    return manifestOf(id, [], { startedAt: committedAt, committedAt });
  };
  const backups = Array.from({ length: 120 }, (_, index) => backup(index + 1));
  const counted = countBackups(EMPTY_TALLY, 'orders', backups);
  const failed = [
    { store: 'orders', runId: 'r1', endedAt: '2026-04-30T09:00:00.000Z' },
    { store: 'orders', runId: 'r2', endedAt: '2026-04-30T09:30:00.000Z' },
  ];
  const tally = countFailures(counted, failed, '2026-04-30T10:00:00.000Z');
  expect(tally.daysSince).toBe('2026-04-30T10:00:00.000Z');
  const days = tally.stores['orders']?.days ?? {};
  expect(Object.keys(days)).toHaveLength(100);
  expect(days['2026-04-30']).toEqual({ succeeded: 1, failed: 2 });
  expect(days['2026-01-01']).toBeUndefined();
});
