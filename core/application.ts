import type { DrillPolicy } from './drill';
import type { Hook } from './hooks';
import type { MonitoringPolicy } from './monitoring/policy';
import type { EndpointCheck } from './traffic';
import type { DnsRecord } from './traffic';

/**
 * What a workflow knows of an application: names, orders, numbers; no secret and no address of a store. The worker makes it
 * from the config (`describeApplication`), and it is recorded in the history of the run that used it.
 */
export interface Application {
  readonly name: string;
  readonly sites: readonly string[];
  /** Active until the first role change says otherwise. */
  readonly initialSite: string;
  readonly stores: readonly StoreSummary[];
  readonly serviceGroups: readonly ServiceGroup[];
  readonly dns: readonly DnsTarget[];
  readonly endpoints: readonly EndpointCheck[];
  readonly objectives: { readonly rtoSeconds: number; readonly rpoSeconds: number };
  readonly failover: FailoverPolicy;
  /** In the order of the config. */
  readonly hooks: readonly Hook[];
  readonly backup: BackupPolicy;
  readonly monitoring: MonitoringPolicy;
  readonly drill: DrillPolicy;
}

export interface StoreSummary {
  readonly name: string;
  readonly engine: string;
  readonly hasLog: boolean;
  readonly hasReplication: boolean;
  /** Whether its standby can take archived log before a promotion. */
  readonly catchesUp: boolean;
  /** Sites with several servers of which a promotion chooses one; the others have to follow it. Not known to older runs. */
  readonly choosesAt?: readonly string[];
  /** Whether directories of it are mirrored for the public after each backup. */
  readonly hasMirrors: boolean;
  readonly rpoSeconds: number;
  /** The further repositories that its backups and its log are copied to; absent in histories of before there were any. */
  readonly copies?: readonly string[];
}

/** Services that start together, after the groups before them are ready. */
export interface ServiceGroup {
  readonly name: string;
  readonly services: readonly { readonly name: string; readonly replicas: number }[];
}

export interface DnsTarget {
  readonly name: string;
  readonly type: DnsRecord['type'];
  readonly ttlSeconds: number;
  /** The values of the record when a site is active. */
  readonly valuesBySite: Readonly<Record<string, readonly string[]>>;
}

export interface FailoverPolicy {
  /** How often and how far apart the primary is probed before it is held to be down. */
  readonly confirmProbes: number;
  readonly confirmIntervalSeconds: number;
  /** After this long without an answer the approval is escalated; it is never assumed. */
  readonly escalateAfterSeconds: number;
  readonly approvers: readonly string[];
  /** Whether the person who started it may approve it as well. */
  readonly requesterMayApprove: boolean;
  /** How long a service may take to be ready, and DNS to answer with the new site everywhere. */
  readonly servicesReadySeconds: number;
  readonly dnsPropagationSeconds: number;
  /** How long a standby may take to replay what only the archive has, before people are asked. */
  readonly catchUpSeconds: number;
  readonly switchover: SwitchoverPolicy;
}

export interface SwitchoverPolicy {
  /** From the first step that changes something to the promotion: past it everything returns to where it was. */
  readonly withinSeconds: number;
  /** A standby that needs longer to have what its primary has now does not take over. */
  readonly maxLagSeconds: number;
  /** The TTL of the public names while it is under way; null: they keep theirs. */
  readonly lowerTtlToSeconds: number | null;
}

export interface BackupPolicy {
  readonly mode: 'spool' | 'stream';
  readonly volumeBytes: number;
}
