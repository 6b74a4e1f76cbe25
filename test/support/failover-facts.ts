import type { DnsTarget } from '../../core/application';
import type { FailoverFacts } from '../../core/report/from-failover';
import type { LossEstimate } from '../../core/replication';
import type { ApprovalCard, FailOverResult } from '../../core/role-change-runs';
import { roleChangeSteps as run, type StepName } from '../../core/role-change-steps';
import type { StepState, StepStatus } from '../../core/runs';
import type { EndpointCheck } from '../../core/traffic';
import { shop } from './shop-application';

const BEGIN = Date.parse('2026-11-22T13:05:00.000Z');

/** An instant of the failover, in seconds since it began. */
export const at = (seconds: number): string => new Date(BEGIN + seconds * 1_000).toISOString();

const step = (
  [id, title]: StepName,
  [from, to]: readonly [number, number],
  note: string | null = null,
  state: StepState = 'done',
): StepStatus => ({ id, title, state, startedAt: at(from), finishedAt: at(to), note });

export function loss(store: string, seconds: number | null, sampleAgeSeconds = 750): LossEstimate {
  const known = seconds !== null;
  return {
    store,
    certainty: known ? 'bound' : 'unknown',
    bytes: known ? 48_500 : null,
    operations: known ? 212 : null,
    seconds,
    measuredAt: at(690),
    sampleAgeSeconds: known ? sampleAgeSeconds : null,
    growth: { bytesPerSecond: 100, operationsPerSecond: 1 },
    basis: known
      ? 'behind at the newest sample, plus peak write rate × its age of 750.0 s'
      : 'the standby does not answer',
  };
}

const losses = [loss('orders', 752.4), loss('events', 751.1), loss('sessions', 751.9)];

const card: ApprovalCard = {
  number: 22,
  application: shop.name,
  fromSite: 'primary',
  toSite: 'dr',
  requestedBy: 'sam',
  reason: 'the data centre is dark',
  evidence: ['orders at primary: does not answer'],
  losses,
  measuredAt: at(690),
  problem: null,
  worse: [],
  rtoSeconds: 14_400,
  rpoSeconds: 900,
};

const [target] = shop.dns as [DnsTarget];
const [endpoint] = shop.endpoints as [EndpointCheck];
const proven = 'agent killed 5 processes and saw them gone';
const none = 'no proof: primary does not answer';
const majority = 'proven: a majority elected 10.0.2.12 in term 9';
const bounds = 'orders: ≤ 752.4 s, events: ≤ 751.1 s, sessions: ≤ 751.9 s (13:16:30Z)';

const steps: StepStatus[] = [
  step(run.confirm(shop, 'primary'), [0, 21.2], 'it is down'),
  step(run.standbys('dr'), [712, 712.6]),
  step(run.assess(), [21.9, 23.4], bounds),
  step(run.lookAgain('primary'), [707.9, 711.9], 'still down'),
  step(run.epoch(), [712.6, 712.7], 'epoch 7'),
  step(run.evidence('primary'), [712.7, 717.4], proven),
  step(run.fenceSite('primary'), [712.7, 713.2], `proven: ${proven}`),
  step(run.fenceStore('orders', 'primary'), [713.2, 717.2], none, 'skipped'),
  step(run.fenceStore('events', 'primary'), [713.2, 713.9], majority),
  step(run.promote('orders', 'dr'), [717.4, 718.6], 'promoted at 0/5000148'),
  step(run.promote('events', 'dr'), [717.4, 717.9], 'promoted at 1763816717:3'),
  step(run.promote('sessions', 'dr'), [717.4, 717.5], 'promoted at 818342'),
  step(run.service('auth', 'dr'), [718.6, 720.1], '2 ready'),
  step(run.service('order', 'dr'), [720.1, 722.3], '3 ready'),
  step(run.service('cart', 'dr'), [720.1, 721.4], '1 ready'),
  step(run.dns(target, 'dr'), [722.3, 723.5], '2 authoritative servers answer so'),
  step(run.verifyEndpoint(endpoint), [723.5, 723.7], '200 from 10.0.2.100 in 43 ms'),
  step(run.verifyStore('orders'), [723.5, 723.6], '12 ms'),
  step(run.verifyStore('events'), [723.5, 723.8], '31 ms'),
  step(run.verifyStore('sessions'), [723.5, 723.6], '2 ms'),
  step(run.lineage('dr'), [723.8, 724.4]),
  step(run.tell('end', 'Failover of shop: completed'), [724.4, 724.9], 'oncall: told'),
];

const result: FailOverResult = {
  outcome: 'completed',
  reason: 'shop runs at dr',
  epoch: 7,
  approvedBy: 'dana',
  fromSite: 'primary',
  toSite: 'dr',
  losses,
  lossesAtApproval: losses.map((each) => ({ ...each, seconds: (each.seconds ?? 0) + 18, sampleAgeSeconds: 768 })),
  afterUndo: [],
  evidence: [
    {
      strength: 'proven',
      site: 'primary',
      stores: ['orders', 'events', 'sessions'],
      epoch: 7,
      at: at(713.2),
      how: proven,
      by: 'agent at primary',
    },
  ],
  endpoints: [
    {
      url: 'http://api.shop.test/health',
      method: 'GET',
      ok: true,
      status: 200,
      milliseconds: 43,
      address: '10.0.2.100',
      problem: null,
    },
  ],
  steps,
  approvalToVerifiedSeconds: 16.1,
  reportKey: null,
};

/** A failover that people thought about for eleven minutes and that then went well. */
export const completedFailover: FailoverFacts = {
  workflowId: 'role-change:shop',
  runId: '0199f3a2-7c41-7e8a-b6d0-3f1c52a90e11',
  input: { application: shop.name, toSite: 'dr', requestedBy: 'sam', reason: 'the data centre is dark' },
  app: shop,
  result,
  card,
  approvedAt: at(707.7),
  verifiedAt: at(723.8),
  decisions: [
    {
      command: 'approve',
      by: 'erin',
      at: at(95),
      reason: null,
      step: null,
      note: 'not taken: orders: at most 160 s now, at most 87 s were shown',
    },
    { command: 'approve', by: 'dana', at: at(707.7), reason: null, step: null, note: null },
  ],
  messages: ['the approval by erin was not taken, the loss became worse: orders: at most 160 s now'],
  startedAt: at(0),
  endedAt: at(725),
};

/** The same with another result. */
export const failoverThat = (change: Partial<FailOverResult>, facts: Partial<FailoverFacts> = {}): FailoverFacts => ({
  ...completedFailover,
  ...facts,
  result: { ...result, ...change },
});
