import type { Application } from '../../core/application';
import { ALERTS } from '../../core/monitoring/policy';

/** An application like the shop's, for tests of workflows. */
export const shop: Application = {
  name: 'shop',
  sites: ['primary', 'dr'],
  initialSite: 'primary',
  stores: [
    {
      name: 'orders',
      engine: 'postgresql',
      hasLog: true,
      hasReplication: true,
      catchesUp: true,
      choosesAt: ['dr'],
      hasMirrors: false,
      rpoSeconds: 900,
    },
    {
      name: 'events',
      engine: 'mongodb',
      hasLog: true,
      hasReplication: true,
      catchesUp: false,
      choosesAt: [],
      hasMirrors: false,
      rpoSeconds: 900,
    },
    {
      name: 'sessions',
      engine: 'redis',
      hasLog: false,
      hasReplication: true,
      catchesUp: false,
      choosesAt: [],
      hasMirrors: false,
      rpoSeconds: 900,
    },
    {
      name: 'assets',
      engine: 'files',
      hasLog: false,
      hasReplication: false,
      catchesUp: false,
      choosesAt: [],
      hasMirrors: false,
      rpoSeconds: 900,
    },
  ],
  serviceGroups: [
    { name: 'base', services: [{ name: 'auth', replicas: 2 }] },
    {
      name: 'front',
      services: [
        { name: 'order', replicas: 3 },
        { name: 'cart', replicas: 1 },
      ],
    },
  ],
  dns: [
    { name: 'api.shop.test', type: 'A', ttlSeconds: 60, valuesBySite: { primary: ['10.0.1.100'], dr: ['10.0.2.100'] } },
  ],
  endpoints: [{ url: 'http://api.shop.test/health', method: 'GET', expectStatus: 200, timeoutMilliseconds: 30_000 }],
  objectives: { rtoSeconds: 14_400, rpoSeconds: 900 },
  failover: {
    confirmProbes: 3,
    // Every test of a failover waits for two of them: a moment is enough to have looked again.
    confirmIntervalSeconds: 0.1,
    escalateAfterSeconds: 600,
    approvers: ['dana', 'erin'],
    requesterMayApprove: false,
    servicesReadySeconds: 120,
    dnsPropagationSeconds: 120,
    catchUpSeconds: 60,
    switchover: { withinSeconds: 120, maxLagSeconds: 10, lowerTtlToSeconds: null },
  },
  hooks: [],
  backup: { mode: 'spool', volumeBytes: 128 * 2 ** 20 },
  monitoring: {
    backupMaxAgeSeconds: 25 * 3_600,
    storeMaxAgeSeconds: {},
    proofMaxAgeSeconds: null,
    delayedAfterSeconds: 24 * 3_600,
    recoverySeconds: 14_400,
    alerts: Object.fromEntries(
      ALERTS.map((name) => [name, { forSeconds: 0, severity: 'critical' }]),
    ) as Application['monitoring']['alerts'],
    repeatAfterSeconds: 86_400,
    dashboard: { successRate: 0.999, backupSeconds: 3_600, sizeTrend: 'increasing' },
  },
  drill: {
    tellPeople: true,
    without: [],
    recoveryWithinSeconds: 1_800,
    name: {
      ...{ name: 'drill.shop.test', type: 'A', ttlSeconds: 5 },
      ...{ before: ['192.0.2.1'], values: ['10.0.4.100'] },
    },
    bubble: {
      groups: [
        { name: 'base', services: [{ name: 'auth' }] },
        { name: 'front', services: [{ name: 'order' }] },
      ],
    },
    performance: { requests: 10, concurrency: 2, p95Milliseconds: 500, slowerBy: 2 },
    targets: [
      { name: 'database', store: 'orders', service: null, site: null, pods: null, evenActive: false },
      { name: 'service', store: null, service: 'order', site: null, pods: null, evenActive: false },
      { name: 'standby', store: 'sessions', service: null, site: 'dr', pods: null, evenActive: false },
    ],
  },
};
