import type { RunReport } from '../report/run-report';
import type { Outage, UptimeCount } from '../uptime';
import type { CopyFacts, Period, StoredPart } from './facts';

/**
 * How ready the application was in a month: `reports/readiness-<month>.json`. Plain JSON; null is what is not known, and is
 * never counted as well. Its head is that of every report, so that it is listed and shown with them.
 */
export interface ReadinessReport extends Pick<
  RunReport,
  | 'formatVersion'
  | 'id'
  | 'application'
  | 'outcome'
  | 'verdict'
  | 'because'
  | 'move'
  | 'requestedBy'
  | 'startedAt'
  | 'endedAt'
> {
  readonly kind: 'readiness';
  readonly period: Period;
  readonly activeSite: string | null;
  readonly objectives: readonly ObjectiveResult[];
  readonly risks: readonly Risk[];
  readonly uptime: UptimeSection | null;
  readonly backups: BackupsSection | null;
  /** By store. */
  readonly exposures: readonly Exposure[];
  readonly recoveries: readonly Recovery[];
  readonly proofs: readonly StoreProven[] | null;
  readonly readiness: readonly SiteReadiness[];
  /** Failovers, switchovers, restores and drills of the period, oldest first. */
  readonly runs: readonly RunOfPeriod[];
  readonly checklists: readonly RunOfPeriod[];
  /** Of every store with copies; null where that could not be read. */
  readonly copies: readonly CopyStanding[] | null;
  readonly capacity: CapacitySection | null;
  readonly cost: CostSection | null;
}

export type ObjectiveJudgement = 'within' | 'over' | 'open';

/** One promise, and what was measured of it. `open`: it cannot be told. */
export interface ObjectiveResult {
  readonly id: 'rto' | 'rpo' | 'uptime' | 'backup-success' | 'data-integrity';
  readonly title: string;
  readonly unit: 'seconds' | 'percent';
  readonly target: number;
  readonly measured: number | null;
  readonly judgement: ObjectiveJudgement;
  /** What was measured, how often, and what of it is not known. */
  readonly basis: string;
}

export interface Risk {
  readonly severity: 'high' | 'medium';
  readonly text: string;
  /** What to do or where to look. */
  readonly next: string | null;
}

export interface UptimeSection {
  readonly days: readonly UptimeCount[];
  readonly outages: readonly Outage[];
  readonly upMinutes: number;
  readonly downMinutes: number;
  readonly unknownMinutes: number;
  /** How many minutes it may be down in the period. */
  readonly allowedMinutes: number;
}

export interface BackupsSection {
  readonly days: readonly { readonly day: string; readonly succeeded: number; readonly failed: number }[];
  readonly stores: readonly {
    readonly store: string;
    readonly succeeded: number;
    readonly failed: number;
    /** The longest time without a new backup; null where there was none at all. */
    readonly longestGapSeconds: number | null;
  }[];
  /** From when on runs that failed are counted; null where they are for the whole period. */
  readonly failuresSince: string | null;
}

/** What a loss of the store would have lost, as the health checks saw it. */
export interface Exposure {
  readonly store: string;
  readonly objectiveSeconds: number;
  readonly worstSeconds: number | null;
  readonly looks: number;
  readonly unknown: number;
  readonly over: number;
  /** Days without a look. */
  readonly daysUnseen: number;
}

/** A recovery that was really done: a restore that was proven, a role change that was verified. */
export interface Recovery {
  readonly what: string;
  readonly at: string;
  readonly seconds: number;
  readonly objectiveSeconds: number;
  /** How old the restored state was; null where that is not known or has no meaning. */
  readonly lossSeconds: number | null;
  readonly lossObjectiveSeconds: number | null;
}

export interface StoreProven {
  readonly store: string;
  readonly full: { readonly proven: number; readonly failed: number };
  readonly restore: { readonly proven: number; readonly failed: number };
  readonly objects: number;
  readonly damaged: number;
  /** The newest of any kind that failed and was not followed by one of its kind that did not; null where there is none. */
  readonly stillFailing: string | null;
}

export interface SiteReadiness {
  readonly site: string;
  readonly days: readonly {
    readonly day: string;
    readonly looks: number;
    readonly ready: number;
    readonly lowestScore: number | null;
  }[];
  readonly looks: number;
  readonly ready: number;
}

export interface RunOfPeriod extends Pick<RunReport, 'id' | 'outcome' | 'verdict' | 'because' | 'endedAt'> {
  readonly kind: RunReport['kind'];
  readonly seconds: number;
}

export interface CopyStanding extends CopyFacts {
  /** Stored there; null where that is not known. */
  readonly bytes: number | null;
  /** What they cost a month; null where the config has no price for some of it. */
  readonly perMonth: number | null;
  readonly currency: string | null;
}

export interface CapacitySection {
  readonly bytes: number;
  readonly objects: number;
  readonly parts: readonly StoredPart[];
  readonly addedByDay: readonly { readonly day: string; readonly bytes: number }[];
  readonly addedBytes: number;
  /** What was stored when the report of the month before was made; null where there is none. */
  readonly bytesBefore: number | null;
  /** Of the workers' disks, in words. */
  readonly disks: readonly string[];
}

export interface CostSection {
  readonly currency: string | null;
  readonly rows: readonly {
    readonly repository: string;
    readonly storageClass: string;
    readonly bytes: number;
    /** Null where the config names no price. */
    readonly perGibMonth: number | null;
    readonly perMonth: number | null;
  }[];
  /** Of what has a price. */
  readonly knownPerMonth: number;
  readonly unpricedBytes: number;
}
