import type { Application } from '../application';
import type { KeptLog } from '../engine';
import type { MetricFamily } from '../metric-family';
import type { ApplicationFacts } from './facts';
import { gauge } from './gauge';
import { delayedAfterSecondsOf } from './policy';
import { storeMetrics } from './store-metrics';

const seconds = (iso: string) => Date.parse(iso) / 1_000;

const KEPT_LOG_STATES: readonly KeptLog['state'][] = ['reading', 'waiting', 'endangered', 'lost', 'absent', 'unused'];

/**
 * Everything that is told of an application. The first five names and `recovery_duration_seconds` are the strategy's; labels are
 * `app`, and `store` and `kind` (its engine) for what belongs to a store.
 */
export function applicationMetrics(application: Application, facts: ApplicationFacts): MetricFamily[] {
  const app = { app: application.name };
  const kinds = new Map(application.stores.map(({ name, engine }) => [name, engine]));
  const of = (store: string) => ({ ...app, store, kind: kinds.get(store) ?? 'unknown' });
  const { active, replication, roleChange, readiness, recoveries, servers, storage } = facts;
  return [
    ...storeMetrics(application, facts, of),
    gauge(
      'drctl_rpo_objective_seconds',
      'What may be lost of a store: the objective of the config.',
      application.stores.map(({ name, rpoSeconds }) => [of(name), rpoSeconds]),
    ),
    gauge(
      'drctl_backup_delayed_after_seconds',
      'Age of the newest backup from which on a store counts as delayed: alerts.backupDelayed.olderThan, or its own.',
      application.stores.map(({ name }) => [of(name), delayedAfterSecondsOf(application.monitoring, name)]),
    ),
    gauge('drctl_rto_objective_seconds', 'How long a recovery may take: the objective of the config.', [
      [app, application.objectives.rtoSeconds],
    ]),
    gauge(
      'recovery_duration_seconds',
      'How long the newest recovery of its kind took: a failover from its approval, a restore from its start, to the end.',
      (recoveries ?? []).map(({ operation, seconds: took }) => [{ ...app, operation }, took]),
    ),
    gauge(
      'drctl_recovery_last_timestamp_seconds',
      'When that recovery ended.',
      (recoveries ?? []).map(({ operation, endedAt }) => [{ ...app, operation }, seconds(endedAt)]),
    ),
    gauge(
      'drctl_replication_expected',
      '1 for a store whose replication has to be measured: a standby of it could take over.',
      application.sites.length > 1
        ? application.stores.filter(({ hasReplication }) => hasReplication).map(({ name }) => [of(name), 1])
        : [],
    ),
    gauge(
      'drctl_replication_lag_seconds',
      'How far the standby was behind at the newest sample, at most.',
      (replication ?? []).map((lag) => [of(lag.store), lag.seconds]),
    ),
    gauge(
      'drctl_replication_lag_bytes',
      'The same in bytes of log.',
      (replication ?? []).map((lag) => [of(lag.store), lag.bytes]),
    ),
    gauge(
      'drctl_replication_sample_timestamp_seconds',
      'When the replication was measured last.',
      (replication ?? []).map((lag) => [of(lag.store), seconds(lag.sampledAt)]),
    ),
    gauge(
      'drctl_active_site',
      '1 for the site that is active.',
      active ? application.sites.map((site) => [{ ...app, site }, site === active.site ? 1 : 0]) : [],
    ),
    gauge('drctl_epoch', 'How many role changes the application has had.', active ? [[app, active.epoch]] : []),
    gauge(
      'drctl_failover_phase',
      '1 for the phase of the role change that runs; of none: kind "none", phase "idle".',
      roleChange ? [[{ ...app, kind: roleChange.kind ?? 'none', phase: roleChange.phase }, 1]] : [],
    ),
    gauge(
      'drctl_ready',
      '1 where the newest look found that the site could take over.',
      (readiness ?? []).map(({ site, ready }) => [{ ...app, site }, ready ? 1 : 0]),
    ),
    gauge(
      'drctl_readiness_score',
      'Points of 100 of that look.',
      (readiness ?? []).map(({ site, score }) => [{ ...app, site }, score]),
    ),
    gauge(
      'drctl_readiness_timestamp_seconds',
      'When it was looked last.',
      (readiness ?? []).map(({ site, at }) => [{ ...app, site }, seconds(at)]),
    ),
    gauge(
      'drctl_server_up',
      "1 for a database server of the worker's own site that answers it.",
      (servers ?? []).map(({ store, reachable }) => [{ ...of(store), site: facts.site }, reachable ? 1 : 0]),
    ),
    gauge(
      'drctl_log_slot_state',
      'What a primary holds of its log until it is archived: 1 for the state that it is in.',
      (servers ?? []).flatMap(({ store, keptLog }) =>
        keptLog
          ? KEPT_LOG_STATES.map(
              (state) => [{ ...of(store), site: facts.site, state }, keptLog.state === state ? 1 : 0] as const,
            )
          : [],
      ),
    ),
    gauge(
      'drctl_log_slot_kept_bytes',
      'Log that the primary holds because it is not archived yet.',
      (servers ?? []).map(({ store, keptLog }) => [{ ...of(store), site: facts.site }, keptLog?.keptBytes ?? null]),
    ),
    gauge(
      'drctl_log_slot_headroom_bytes',
      'How much more may be written before the primary drops log that is not archived; absent: it has no limit.',
      (servers ?? []).map(({ store, keptLog }) => [{ ...of(store), site: facts.site }, keptLog?.headroomBytes ?? null]),
    ),
    gauge(
      'drctl_repository_bytes',
      'Stored bytes below data/, whatever they belong to.',
      (storage?.contents ?? []).map(({ repository, store, content, bytes }) => [
        { ...of(store), repository, content },
        bytes,
      ]),
    ),
    gauge(
      'drctl_repository_objects',
      'Stored objects below data/.',
      (storage?.contents ?? []).map(({ repository, store, content, objects }) => [
        { ...of(store), repository, content },
        objects,
      ]),
    ),
    gauge(
      'drctl_repository_sized_timestamp_seconds',
      'When they were added up last.',
      storage ? [[app, seconds(storage.at)]] : [],
    ),
  ];
}

/** What is told also when everything else is too old to be told: that somebody looks, and how that goes. */
export function collectionMetrics(
  application: string,
  facts: ApplicationFacts,
  staleAfterSeconds: number,
): MetricFamily[] {
  const app = { app: application };
  return [
    gauge('drctl_metrics_collected_timestamp_seconds', 'When the figures of this application were collected last.', [
      [app, seconds(facts.at)],
    ]),
    gauge(
      'drctl_metrics_stale_after_seconds',
      'How old they may get: from then on none of them but these is told, because nobody knows whether it still holds.',
      [[app, staleAfterSeconds]],
    ),
    gauge('drctl_metrics_collection_duration_seconds', 'How long that took.', [[app, facts.tookSeconds]]),
    gauge(
      'drctl_metrics_problem',
      '1 for each part that could not be read then: its figures are absent.',
      facts.problems.map(({ part }) => [{ ...app, part }, 1]),
    ),
  ];
}
