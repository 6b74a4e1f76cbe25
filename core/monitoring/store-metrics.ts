import type { Application } from '../application';
import { BACKUP_TYPES } from '../catalog';
import type { MetricFamily, MetricPoint } from '../metric-family';
import { gauge } from './gauge';
import { type CopyView, lagSecondsOf } from './copy-view';
import type { ApplicationFacts } from './facts';
import { atRiskSeconds, contentProvenAt, judgeStore, lastAttemptFailed, statusOf } from './store-view';
import { type DurationTally, DURATION_BOUNDS_SECONDS, type Tally, tallyOf } from './tally';

type LabelsOf = (store: string) => Readonly<Record<string, string>>;

const seconds = (iso: string | null | undefined) => (iso ? Date.parse(iso) / 1_000 : null);

/** What is told of each store that could be read. */
export function storeMetrics(application: Application, facts: ApplicationFacts, of: LabelsOf): MetricFamily[] {
  const { stores, tally } = facts;
  const each = <T>(value: (view: (typeof stores)[number]) => T) =>
    stores.map((view) => [of(view.store), value(view)] as const);
  const counted = stores.map(({ store }) => store);
  return [
    gauge(
      'backup_success',
      '1 when the last backup of the store that ended was committed, 0 when it failed; absent before the first.',
      each((view) => (lastAttemptFailed(view) ? 0 : view.newest ? 1 : null)),
    ),
    ...(tally ? tallyMetrics(tally, counted, of) : []),
    gauge(
      'backup_last_success_timestamp',
      'When the newest backup was committed, in seconds since 1970.',
      each(({ newest }) => seconds(newest?.committedAt)),
    ),
    gauge(
      'drctl_backup_oldest_timestamp_seconds',
      'When the oldest backup that is there was begun.',
      each(({ oldestAt }) => seconds(oldestAt)),
    ),
    gauge(
      'backup_size_bytes',
      'Stored bytes of the newest backup of its type.',
      stores.flatMap(({ store, sizeBytes }) =>
        BACKUP_TYPES.map((type) => [{ ...of(store), type }, sizeBytes[type]] as const),
      ),
    ),
    gauge(
      'drctl_backups',
      'Backups in the repository.',
      stores.flatMap(({ store, backups }) =>
        BACKUP_TYPES.map((type) => [{ ...of(store), type }, backups?.[type] ?? null] as const),
      ),
    ),
    gauge(
      'drctl_backups_damaged',
      'Backups that cannot be restored: of the newest by their manifests, of all by a proof that none found otherwise since.',
      each(({ damaged }) => damaged.length),
    ),
    gauge(
      'drctl_healthy',
      'The judgement of the store: 1 healthy, 0.5 warning, 0 error.',
      each((view) => ({ healthy: 1, warning: 0.5, error: 0 })[statusOf(judgeStore(view, application.monitoring))]),
    ),
    gauge(
      'drctl_rpo_seconds',
      'Changes of so many seconds would be lost with the store now; absent where that is not known.',
      each(atRiskSeconds),
    ),
    gauge(
      'drctl_restorable_until_timestamp_seconds',
      'The newest instant to which the store can be restored.',
      each(({ restorableUntil }) => seconds(restorableUntil)),
    ),
    gauge(
      'drctl_log_gaps',
      'Gaps in the log that the newest backups need: nothing within them can be restored.',
      each(({ hasLog, logProblem, gaps }) => (hasLog && logProblem === null ? gaps.length : null)),
    ),
    gauge(
      'drctl_log_last_gap_timestamp_seconds',
      'When the newest of them ended; absent where there is none.',
      each(({ gaps }) => seconds(gaps.at(-1)?.to)),
    ),
    gauge(
      'drctl_proof_success',
      '1 when the newest proof of its kind succeeded, 0 when it failed.',
      stores.flatMap(({ store, proofs }) =>
        proofs.map(
          ({ kind, newestResult }) => [{ ...of(store), proof: kind }, newestResult === 'proven' ? 1 : 0] as const,
        ),
      ),
    ),
    gauge(
      'drctl_proof_last_success_timestamp_seconds',
      'When a proof of its kind succeeded last; absent where none ever did.',
      stores.flatMap(({ store, proofs }) =>
        proofs.map(({ kind, provenAt }) => [{ ...of(store), proof: kind }, seconds(provenAt)] as const),
      ),
    ),
    gauge(
      'drctl_proof_age_seconds',
      'Age of the newest proof that read or restored a backup; absent where none ever did.',
      each(({ at, proofs }) => {
        const provenAt = contentProvenAt(proofs);
        return provenAt === null ? null : Math.max(0, (Date.parse(at) - Date.parse(provenAt)) / 1_000);
      }),
    ),
    ...copyMetrics(stores, of),
  ];
}

function copyMetrics(stores: ApplicationFacts['stores'], of: LabelsOf): MetricFamily[] {
  const each = (value: (copy: CopyView, at: string) => number | null) =>
    stores.flatMap(({ store, at, copies = [] }) =>
      copies.map((view) => [{ ...of(store), copy: view.copy }, value(view, at)] as const),
    );
  return [
    gauge(
      'drctl_copy_complete_timestamp_seconds',
      'All that was stored then is in the copy; absent before it was complete for the first time.',
      each(({ completeUntil }) => seconds(completeUntil)),
    ),
    gauge(
      'drctl_copy_lag_seconds',
      'How far the copy is behind its store; absent where that is not known.',
      each(lagSecondsOf),
    ),
    gauge(
      'drctl_copy_lag_objective_seconds',
      'How far it may be behind.',
      each(({ maxLagSeconds }) => maxLagSeconds),
    ),
    gauge(
      'drctl_copy_damaged_objects',
      'Objects that could not be copied, because they are damaged where they are copied from.',
      each(({ notCopied, problem }) => (problem === null ? notCopied : null)),
    ),
  ];
}

function tallyMetrics(tally: Tally, stores: readonly string[], of: LabelsOf): MetricFamily[] {
  const byType = stores.flatMap((store) =>
    BACKUP_TYPES.map((type) => ({ labels: { ...of(store), type }, tally: tallyOf(tally, store).succeeded[type] })),
  );
  return [
    {
      name: 'backup_success_total',
      help: 'Backups that were ever committed; retention takes none away.',
      type: 'counter',
      samples: byType.map(({ labels, tally: { count } }) => ({ labels, value: count })),
    },
    {
      name: 'backup_failure_total',
      help: 'Runs of backups that ended without one.',
      type: 'counter',
      samples: stores.map((store) => ({ labels: of(store), value: tallyOf(tally, store).failed })),
    },
    {
      name: 'backup_duration_seconds',
      help: 'How long backups took from their start to the commit.',
      type: 'histogram',
      samples: byType.flatMap(({ labels, tally: durations }) => histogramPoints(labels, durations)),
    },
  ];
}

function histogramPoints(
  labels: Readonly<Record<string, string>>,
  { count, sumSeconds, within }: DurationTally,
): MetricPoint[] {
  let upTo = 0;
  const buckets = DURATION_BOUNDS_SECONDS.map((bound, index) => {
    upTo += within[index] ?? 0;
    return { suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: upTo };
  });
  return [
    ...buckets,
    { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: count },
    { suffix: '_sum', labels, value: sumSeconds },
    { suffix: '_count', labels, value: count },
  ];
}
