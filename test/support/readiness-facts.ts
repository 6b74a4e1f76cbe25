import type { HealthDay } from '../../core/day-records';
import { EMPTY_TALLY } from '../../core/monitoring/tally';
import type { CommittedBackup, ProofOfPeriod, ReadinessFacts } from '../../core/readiness-report/facts';
import { daysOf, periodOf } from '../../core/readiness-report/period';
import { failoverReport } from '../../core/report/from-failover';
import { unknownDay, type UptimeDay } from '../../core/uptime';
import { completedFailover } from './failover-facts';

const GIB = 2 ** 30;
const AT = '2026-12-02T05:00:00.000Z';
export const NOVEMBER = periodOf('2026-11', AT);
const days = daysOf(NOVEMBER);

export const STORES = [
  { store: 'orders', engine: 'postgresql', rpoSeconds: 900 },
  { store: 'events', engine: 'mongodb', rpoSeconds: 900 },
  { store: 'assets', engine: 'files', rpoSeconds: 86_400 },
];

const backup = (day: string): CommittedBackup => ({
  backupId: `${day.replaceAll('-', '')}T020000Z-full-00000001`,
  type: 'full',
  startedAt: `${day}T02:00:00.000Z`,
  committedAt: `${day}T02:10:00.000Z`,
});

export const proof = (day: string, over: Partial<ProofOfPeriod> = {}): ProofOfPeriod => ({
  ...{ proofId: `${day.replaceAll('-', '')}T043000Z-full-proven-00000001`, kind: 'full', result: 'proven' },
  ...{ at: `${day}T04:30:00.000Z`, objects: 40, damaged: 0, problem: null, restore: null },
  ...over,
});

export const restoreProof = (day: string, recoverySeconds: number, lossSeconds: number | null = 4): ProofOfPeriod =>
  proof(day, { kind: 'restore', restore: { recoverySeconds, rtoSeconds: 14_400, lossSeconds, rpoSeconds: 900 } });

export const upAllDay = (day: string): UptimeDay => ({ ...unknownDay(day), minutes: 'U'.repeat(1_440) });

export const healthyDay = (day: string, worst = 3): HealthDay => ({
  ...{ formatVersion: 1, day, lastAt: `${day}T23:55:00.000Z` },
  stores: Object.fromEntries(
    STORES.map(({ store, rpoSeconds }) => {
      const rpoWorstSeconds = store === 'assets' ? rpoSeconds * 0.98 : worst;
      const looks = { looks: 288, healthy: 288, warning: 0, error: 0 };
      return [store, { ...looks, rpoUnknown: 0, rpoOver: 0, rpoWorstSeconds }];
    }),
  ),
});

/** A month in which everything was measured and kept; a test says what was otherwise. */
export function goodMonth(over: Partial<ReadinessFacts> = {}): ReadinessFacts {
  const ofStores = <T>(value: T) => Object.fromEntries(STORES.map(({ store }) => [store, value]));
  const drill = failoverReport({ ...completedFailover, runId: 'd1' });
  return {
    application: 'shop',
    requestedBy: 'schedule readiness-report',
    at: AT,
    period: NOVEMBER,
    stores: STORES,
    activeSite: 'primary',
    rtoSeconds: 14_400,
    targets: {
      ...{ uptimePercent: 99.9, backupSuccessPercent: 99.95, dataIntegrityPercent: 100 },
      prices: { currency: 'USD', perGibMonth: { cloud: { STANDARD: 0.023, GLACIER: 0.0036 } } },
    },
    endpoints: 1,
    tally: { ...EMPTY_TALLY, daysSince: '2026-10-01T00:00:00.000Z' },
    backups: ofStores(days.map(backup)),
    health: days.map((day) => healthyDay(day)),
    lastHealth: {
      application: 'shop',
      at: AT,
      stores: STORES.map(({ store }) => ({
        ...{ store, status: 'healthy' as const, reasons: [], problems: [] },
        ...{ lastBackupAt: AT, lastBackupAgeHours: 3, rpoSeconds: 3 },
      })),
    },
    readiness: [
      {
        site: 'dr',
        days: days.map((day) => ({
          ...{ formatVersion: 1 as const, day, lastAt: `${day}T23:30:00.000Z` },
          ...{ looks: 24, ready: 24, lowestScore: 100 },
        })),
      },
    ],
    lastReadiness: [
      {
        ...{ application: 'shop', fromSite: 'primary', toSite: 'dr', at: AT },
        ...{ verdict: 'ready', score: 100, checks: [] },
      },
    ],
    uptime: days.map(upAllDay),
    proofs: ofStores([restoreProof('2026-11-28', 95), ...days.toReversed().map((day) => proof(day))]),
    runs: [
      {
        ...drill,
        ...{ id: 'drill-d1', kind: 'drill', outcome: 'completed', verdict: 'achieved', recovery: null, move: null },
        ...{ because: 'five of five stages held', warnings: [] },
        ...{ startedAt: '2026-11-01T01:00:00.000Z', endedAt: '2026-11-01T01:24:00.000Z' },
      },
    ],
    stored: {
      parts: [
        {
          repository: 'cloud',
          store: 'orders',
          content: 'full',
          storageClass: 'STANDARD',
          bytes: 30 * GIB,
          objects: 240,
        },
        {
          repository: 'cloud',
          store: 'orders',
          content: 'full',
          storageClass: 'GLACIER',
          bytes: 90 * GIB,
          objects: 720,
        },
        {
          repository: 'cloud',
          store: 'orders',
          content: 'log',
          storageClass: 'STANDARD',
          bytes: 9 * GIB,
          objects: 9_000,
        },
        {
          repository: 'cloud',
          store: 'events',
          content: 'full',
          storageClass: 'STANDARD',
          bytes: 12 * GIB,
          objects: 96,
        },
      ],
      addedByDay: Object.fromEntries(days.map((day, index) => [day, GIB * (1 + (index % 4) / 10)])),
    },
    copies: [],
    disks: [],
    previous: null,
    unread: [],
    ...over,
  };
}
