import type { Application } from '../application';
import { recordLabel } from '../dns-moves';
import { unfencedStores } from '../fencing';
import type { HandOver } from '../hand-over';
import type { ApprovalCard, FailOverInput, FailOverOutcome, FailOverResult } from '../role-change-runs';
import type { StepStatus } from '../runs';
import {
  type ActualLoss,
  type Decision,
  type LossReport,
  type PartResult,
  type RecoveryTime,
  REPORT_FORMAT_VERSION,
  type RunReport,
} from './run-report';

/** What a role change knows at its end, planned or not. */
export interface FailoverFacts {
  readonly workflowId: string;
  readonly runId: string;
  readonly input: FailOverInput;
  readonly app: Application;
  readonly result: FailOverResult;
  /** The card that was approved, else the newest; null where none was shown. */
  readonly card: ApprovalCard | null;
  readonly approvedAt: string | null;
  readonly verifiedAt: string | null;
  readonly decisions: readonly Decision[];
  readonly messages: readonly string[];
  readonly startedAt: string;
  readonly endedAt: string;
}

export function failoverReport(facts: FailoverFacts): RunReport {
  const { app, input, result } = facts;
  const { outcome, steps } = result;
  const stepOf = (id: string) => partOf(steps.find((step) => step.id === id));
  const named = (topic: string, name: string) => ({ name, ...(stepOf(`${topic}:${name}`) ?? NOT_REACHED) });
  const warnings = warningsOf(facts);
  const kind = result.switchover ? 'switchover' : 'failover';
  return {
    formatVersion: REPORT_FORMAT_VERSION,
    id: `${kind}-${facts.runId}`,
    kind,
    application: app.name,
    workflowId: facts.workflowId,
    runId: facts.runId,
    outcome,
    verdict: verdictOf(outcome, warnings),
    because: result.reason,
    requestedBy: input.requestedBy,
    requestReason: input.reason,
    startedAt: facts.startedAt,
    endedAt: facts.endedAt,
    move: { from: result.fromSite, to: result.toSite, epoch: result.epoch },
    recovery: {
      objectiveSeconds: app.objectives.rtoSeconds,
      ...outageOf(facts),
      approvedAt: facts.approvedAt,
      verifiedAt: facts.verifiedAt,
    },
    loss: lossOf(facts),
    decisions: facts.decisions,
    evidence: result.evidence,
    stores: app.stores
      .filter(({ hasReplication }) => hasReplication)
      .map(({ name, engine }) => ({
        store: name,
        engine,
        results: storeSteps(result).map(([what, topic]) => ({
          what,
          ...(stepOf(`${topic}:${name}`) ?? NOT_REACHED),
        })),
      })),
    services: app.serviceGroups.flatMap(({ services }) => services.map(({ name }) => named('service', name))),
    dns: app.dns.map((target) => ({
      ...named('dns', recordLabel(target)),
      values: target.valuesBySite[result.toSite] ?? [],
      ttlSeconds: target.ttlSeconds,
    })),
    endpoints: result.endpoints,
    steps,
    warnings,
    messages: facts.messages,
  };
}

/** What is done to each store, in the order of the runbook: the words of the report, and the topic of the step's id. */
const storeSteps = ({ switchover, fromSite }: FailOverResult): readonly (readonly [what: string, topic: string])[] => [
  ...(switchover ? [['handed over', 'hand-over'] as const] : []),
  ['promoted', 'promote'],
  ['written and read back', 'verify'],
  ...(switchover ? [[`standby at ${fromSite}`, 'follow'] as const] : []),
];

const NOT_REACHED: PartResult = { state: 'waiting', note: null };

const partOf = (step: StepStatus | undefined): PartResult | null =>
  step ? { state: step.state, note: step.note } : null;

function verdictOf(outcome: FailOverOutcome, warnings: readonly string[]): RunReport['verdict'] {
  switch (outcome) {
    case 'completed':
      return warnings.length > 0 ? 'attention' : 'achieved';
    case 'aborted':
      return warnings.length > 0 ? 'attention' : 'unchanged';
    case 'not necessary':
    case 'rejected':
      return 'unchanged';
    default:
      return 'failed';
  }
}

/** Something was amiss when the run began at the latest, or when the stores at the old site last answered before. */
function outageOf({ card, startedAt, result }: FailoverFacts): Pick<RecoveryTime, 'outageFrom' | 'outageBasis'> {
  const { switchover } = result;
  if (switchover) {
    return {
      outageFrom: switchover.stoppedAt ?? startedAt,
      outageBasis: 'since the first service was stopped on purpose',
    };
  }
  const answeredAt = card && lastAnsweredAt(card);
  return answeredAt !== null && answeredAt < startedAt
    ? { outageFrom: answeredAt, outageBasis: 'since the old stores last answered' }
    : { outageFrom: startedAt, outageBasis: 'since the run began; the outage may be older' };
}

/** A store that never answered leaves it open: unknown is not "just now". */
function lastAnsweredAt({ losses, measuredAt }: ApprovalCard): string | null {
  const ages = losses.map(({ sampleAgeSeconds }) => sampleAgeSeconds);
  if (ages.length === 0) return null;
  const oldest = Math.max(...ages.map((age) => age ?? Infinity));
  return Number.isFinite(oldest) ? new Date(Date.parse(measuredAt) - oldest * 1_000).toISOString() : null;
}

function lossOf({ app, result, approvedAt }: FailoverFacts): LossReport {
  const { losses, lossesAtApproval, fromSite, toSite, steps } = result;
  const promotionBegan = steps.some(({ id, startedAt }) => id.startsWith('promote:') && startedAt !== null);
  const actual: ActualLoss | null = promotionBegan
    ? {
        certainty: 'not known',
        bytes: null,
        operations: null,
        seconds: null,
        basis:
          `${fromSite} was not read after it was fenced. What its store holds beyond the point at which ${toSite} was ` +
          'promoted is the loss: keep its data, and once it can be read again: drctl report measure.',
      }
    : null;
  const proven = (name: string): ActualLoss | null => {
    const handOver = result.switchover?.handOvers.find(({ store }) => store === name);
    return handOver && promotionBegan ? noneLost(handOver, toSite) : null;
  };
  const of = <T extends { readonly store: string }>(list: readonly T[], name: string) =>
    list.find(({ store }) => store === name) ?? null;
  return {
    rpoSeconds: app.objectives.rpoSeconds,
    approvedBy: approvedAt === null ? null : result.approvedBy,
    stores: app.stores
      .filter(({ hasReplication }) => hasReplication)
      .map(({ name, rpoSeconds }) => ({
        store: name,
        rpoSeconds,
        estimate: of(losses, name),
        atApproval: of(lossesAtApproval, name),
        actual: proven(name) ?? actual,
      })),
  };
}

/** The token of a planned move: where the old primary ended, and that the new one had all of it before it was promoted. */
const noneLost = ({ final, reached, how }: HandOver, toSite: string): ActualLoss => ({
  certainty: 'proven',
  bytes: 0,
  operations: 0,
  seconds: 0,
  basis: `the old primary ended at ${final.value}, and ${toSite} had ${reached.value} before it was promoted: ${how}`,
});

/** Whatever somebody should not have to find in a table. */
function warningsOf({ app, result }: FailoverFacts): string[] {
  const { steps, evidence, epoch, outcome, losses, fromSite, toSite } = result;
  const inWords = (verb: string) => (step: StepStatus) => `${step.title}: ${verb}${step.note ? ` (${step.note})` : ''}`;
  const replicated = app.stores.filter(({ hasReplication }) => hasReplication).map(({ name }) => name);
  const proven = evidence.filter(({ strength }) => strength === 'proven');
  const vouchedFor =
    epoch === null || outcome !== 'completed'
      ? []
      : unfencedStores(replicated, proven, { epoch, promotedSite: toSite });
  return [
    ...(vouchedFor.length > 0
      ? [`Nothing proves that ${fromSite} cannot write to ${vouchedFor.join(', ')}: a person vouches for it.`]
      : []),
    ...(result.forced ?? []).map(
      ({ store, kept, removed, attestation }) =>
        `${store} was reconfigured by force, attested by ${attestation.by} (${attestation.reason}): ${removed.join(', ')} ` +
        `were removed, ${kept.join(', ')} go on. What only the removed ones had is not in ${store} any more, whatever it was ` +
        'acknowledged with. Keep them down until each is empty or seen REMOVED: together they could elect a primary of their own.',
    ),
    ...losses
      .filter(({ certainty }) => certainty === 'unknown' && outcome === 'completed')
      .map(({ store, basis }) => `What ${store} may have lost was unknown when it was approved: ${basis}`),
    // A fence that found no proof is marked as skipped as well; what that means is said above.
    ...steps.filter(({ id, state }) => state === 'skipped' && !id.startsWith('fence:')).map(inWords('left out')),
    // What stopped a run is its reason; what failed beside its outcome is not.
    ...steps
      .filter(
        ({ id, state }) => state === 'failed' && (outcome === 'completed' ? /^(?!fence:)/ : /^(undo|notify):/).test(id),
      )
      .map(inWords('failed')),
    ...result.afterUndo,
  ];
}
