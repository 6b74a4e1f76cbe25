import type { Application } from '../core/application';
import { drillPolicy } from './drill-policy';
import { copiesOf } from './copies';
import { hooksOf } from './hooks';
import { monitoringPolicy } from './monitoring';
import type { Config } from './schema';

/** What workflows may know of an application: no secret and no address of a store. */
export function toApplication(config: Config): Application {
  const { failover, objectives } = config;
  return {
    name: config.application,
    sites: Object.keys(config.sites),
    initialSite: config.initialSite,
    stores: Object.entries(config.stores).map(
      ([name, { engine, hasLog, hasReplication, catchesUp, choosesAt, mirrors, rpo }]) => ({
        name,
        engine,
        hasLog,
        hasReplication,
        catchesUp,
        choosesAt,
        hasMirrors: mirrors.length > 0,
        rpoSeconds: (rpo ?? objectives.rpo).seconds,
        copies: copiesOf(config, name).map((copy) => copy.name),
      }),
    ),
    serviceGroups: config.services?.groups ?? [],
    dns: (config.dns?.records ?? []).map(({ name, type, ttl, values }) => ({
      name,
      type,
      ttlSeconds: ttl.seconds,
      valuesBySite: values,
    })),
    endpoints: config.endpoints.map(({ url, method, expectStatus, timeout }) => ({
      url,
      method,
      expectStatus,
      timeoutMilliseconds: timeout.milliseconds,
    })),
    objectives: { rtoSeconds: objectives.rto.seconds, rpoSeconds: objectives.rpo.seconds },
    failover: {
      confirmProbes: failover.confirm.probes,
      confirmIntervalSeconds: failover.confirm.interval.seconds,
      escalateAfterSeconds: failover.escalateAfter.seconds,
      approvers: failover.approvers,
      requesterMayApprove: failover.requesterMayApprove,
      servicesReadySeconds: failover.servicesReadyWithin.seconds,
      dnsPropagationSeconds: failover.dnsWithin.seconds,
      catchUpSeconds: failover.catchUpWithin.seconds,
      switchover: {
        withinSeconds: failover.switchover.within.seconds,
        maxLagSeconds: failover.switchover.maxLag.seconds,
        lowerTtlToSeconds: failover.switchover.lowerTtlTo?.seconds ?? null,
      },
    },
    hooks: hooksOf(config.hooks),
    backup: {
      mode: config.backup.mode,
      volumeBytes: config.backup.volumeSize.bytes,
    },
    monitoring: monitoringPolicy(config),
    drill: drillPolicy(config),
  };
}
