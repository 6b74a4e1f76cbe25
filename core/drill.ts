import type { CallContext } from './call';
import type { ServiceState } from './services';
import type { DnsRecord } from './traffic';

/** The five stages of the strategy's monthly test in their order, and the validator of recovery times after them. */
export const DRILL_STAGES = ['integrity', 'recovery', 'network', 'application', 'performance', 'validator'] as const;
export type DrillStage = (typeof DRILL_STAGES)[number];

export const STAGE_TITLES: Readonly<Record<DrillStage, string>> = {
  integrity: 'Backup integrity',
  recovery: 'Partial recovery',
  network: 'Network failover to an isolated name',
  application: 'Application start at the DR side, in isolation',
  performance: 'Performance against the baseline',
  validator: 'Recovery times of killed components',
};

/** What the config says of drills. What it leaves out cannot be rehearsed, and is told as left out. */
export interface DrillPolicy {
  /** Tell people of each drill; without it only of one that failed. */
  readonly tellPeople: boolean;
  /** Stages that somebody has decided not to hold: left out of each drill, and no gap of it. */
  readonly without: readonly DrillStage[];
  /** The longest that a killed component may need until it is healthy. */
  readonly recoveryWithinSeconds: number;
  readonly name: DrillName | null;
  /** The services that start in the bubble; null where the config has no bubble. */
  readonly bubble: { readonly groups: readonly DrillGroup[] } | null;
  readonly performance: PerformancePolicy;
  readonly targets: readonly DrillTarget[];
}

/** Services that start together, as `ServiceGroup`; of each a drill starts one replica. */
export interface DrillGroup {
  readonly name: string;
  readonly services: readonly { readonly name: string }[];
}

/** A name of its own in the zone, which nobody uses and which exists only while a drill runs. */
export interface DrillName {
  readonly name: string;
  readonly type: DnsRecord['type'];
  readonly ttlSeconds: number;
  /** What it answers before its failover: an address that stands for the lost site. */
  readonly before: readonly string[];
  /** Where the bubble is reached. */
  readonly values: readonly string[];
}

export interface PerformancePolicy {
  /** Requests of each endpoint, and how many of them at the same time. */
  readonly requests: number;
  readonly concurrency: number;
  /** 95 of 100 requests are answered within; null: only the baseline counts. */
  readonly p95Milliseconds: number | null;
  /** How many times as long as in the earlier drills they may take. */
  readonly slowerBy: number;
}

/** What the validator may kill: only what the config names. */
export interface DrillTarget {
  readonly name: string;
  /** One of the two. */
  readonly store: string | null;
  readonly service: string | null;
  /** Null: what the drill itself has started. A site: what runs there, which is refused while the site is active. */
  readonly site: string | null;
  /** On Kubernetes, the label selector of its pods; null for those of the service's Deployment, and elsewhere. */
  readonly pods: string | null;
  /** Kill it even where its site is active: production. */
  readonly evenActive: boolean;
}

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

/** An attempt to connect from where the services of the bubble run. */
export interface ConnectionAttempt {
  /** `host:port`. */
  readonly target: string;
  readonly connected: boolean;
  /** Why not, in the words of the system that tried; "connected" where it did. */
  readonly how: string;
}

/**
 * A place of its own where the application's services start against restored copies, with no way to anything else. It stays
 * closed between drills. Every method may be repeated.
 */
export interface Bubble {
  readonly kind: string;
  /** Makes it, with a way to these copies alone. LockHeld where another drill's is open. */
  open(request: { drillId: string; copies: Readonly<Record<string, HostAndPort>> }, ctx: CallContext): Promise<void>;
  /** Opens the ways to the copies again that a restart of this host has closed; does nothing where they outlive it. */
  reopenWays(ctx: CallContext): Promise<void>;
  /** Tries each `host:port` from inside, as a service would, and says what became of it. */
  connect(targets: readonly string[], ctx: CallContext): Promise<ConnectionAttempt[]>;
  scale(service: string, replicas: number, ctx: CallContext): Promise<ServiceState>;
  state(service: string, ctx: CallContext): Promise<ServiceState>;
  /** Kills every replica of the service as a crash would and sees them gone; answers what was killed. */
  crash(service: string, ctx: CallContext): Promise<string[]>;
  /** Ends everything in it and takes it away. */
  close(ctx: CallContext): Promise<void>;
  /** What of it is there, in words; empty when it is closed and nothing runs. */
  remains(ctx: CallContext): Promise<string[]>;
}

/** Kills what runs at a site, as a crash would, and leaves it to whoever watches over it there to bring it back. */
export interface ComponentKiller {
  readonly kind: string;
  /** Answers what was killed, once it is gone; throws NotFound where there is nothing of the kind. */
  kill(site: string, component: Pick<DrillTarget, 'store' | 'service' | 'pods'>, ctx: CallContext): Promise<string[]>;
}

/** What drills need of the outside world besides what restores and role changes use. */
export interface DrillSetup {
  readonly bubble: Bubble | null;
  readonly killer: ComponentKiller | null;
  /** `host:port` of production, which nothing in the bubble may reach. */
  readonly forbidden: readonly string[];
  /** Copies that drills left on this host, and processes that work in them; of `drillId` only, where it is given. */
  remains(drillId?: string): Promise<LeftCopy[]>;
}

/** What the places of a drill's copies begin with; the store follows. Names of applications have no character of a pattern. */
export const drillPlace = (application: string, drillId: string): string => `drill-${application}-${drillId}`;

export interface LeftCopy {
  /** Null for a process of a copy that is gone. */
  readonly store: string | null;
  readonly drillId: string;
  /** For people: the directory, or the process. */
  readonly what: string;
}
