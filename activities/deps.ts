import type { Application } from '../core/application';
import type { ChecklistPeriod, ChecklistPlan } from '../core/checklist';
import type { DiskSpace } from '../core/checklist-judgements';
import type { CatalogStore } from '../core/catalog-store';
import type { DrillSetup } from '../core/drill';
import type { StoreCopier } from '../core/copies';
import type { DataKeys } from '../core/data-keys';
import type { Engine } from '../core/engine';
import type { EpochStore } from '../core/epoch';
import type { SiteFence } from '../core/fencing';
import type { BackupBucket, LifecycleSettings } from '../core/lifecycle/rules';
import type { LogArchive } from '../core/log-archive';
import type { Hooks } from '../core/hooks';
import type { MetricPublisher } from '../core/metrics';
import type { AssetMirror } from '../core/mirror';
import type { Notifier } from '../core/notify';
import type { ProofStore } from '../core/proofs';
import type { StoreReading } from '../core/reading';
import type { RestorePlace } from '../core/recovery';
import type { ReportTargets } from '../core/readiness-report/facts';
import type { Repository } from '../core/repository';
import type { ServiceController } from '../core/services';
import type { RetentionSettings } from '../core/retention/policy';
import type { RetentionStore } from '../core/retention/records';
import type { ColdStorage, ThawSettings } from '../core/thaw';
import type { DnsZone, PublicProbe } from '../core/traffic';
import type { BackupTransfer } from '../core/transfer';
import type { StoreVerifier } from '../core/verification';

/** One application with everything that its activities use, wired by the worker from the config. */
export interface OpenApplication {
  readonly application: Application;
  /** Throws NotFound naming the stores that exist. */
  engine(store: string): Engine;
  catalog(store: string): CatalogStore;
  /** Null for stores without a log. */
  logArchive(store: string): LogArchive | null;
  transfer(store: string): BackupTransfer;
  verifier(store: string): StoreVerifier;
  /** What was proven of the store, and when: kept beside its backups. */
  proofs(store: string): ProofStore;
  /** What a run reads of the store from wherever it is intact; one for each run, which tells what it met. */
  reading(store: string): StoreReading;
  /** The further repositories that hold the store, in the order in which they are read from. */
  copies(store: string): readonly StoreCopy[];
  /** The application as if a copy were the repository of every store. Throws NotFound naming the copies that exist. */
  copy(name: string): OpenApplication;
  /** Null where the config has no `encryption`. */
  readonly dataKeys: DataKeys | null;
  /** Kept at the DR side: epochs, samples, reports. */
  readonly control: Repository;
  readonly epochs: EpochStore;
  /** Null where the application has no services to move. */
  readonly services: ServiceController | null;
  readonly zone: DnsZone | null;
  readonly probe: PublicProbe;
  readonly siteFence: SiteFence | null;
  readonly hooks: Hooks;
  readonly notifiers: readonly Notifier[];
  readonly metrics: readonly MetricPublisher[];
  /** Those that hold data of its stores, each once. */
  readonly repositories: readonly Repository[];
  /** What the report on a month holds against what was measured. */
  readonly reporting: ReportTargets;
  /** What is on the list of a period, and how long people have. */
  checklist(period: ChecklistPeriod): ChecklistPlan;
  /** The disks that this worker writes to. */
  disks(): Promise<Omit<DiskSpace, 'site'>[]>;
  /** Directories of the store whose exact copy is kept for the public. */
  mirrors(store: string): readonly AssetMirror[];
  readonly retention: RetentionSettings;
  /** What is kept of the store, for retention and for whoever must keep it from deleting what they read. */
  retentionStore(store: string): RetentionStore;
  /** Null where drctl keeps no rules in the buckets. */
  readonly lifecycle: LifecycleSettings | null;
  /** The S3 buckets that hold backups. */
  buckets(): readonly BackupBucket[];
  /** What of the store's backups lies in archive classes. */
  coldStorage(store: string): ColdStorage;
  /** How restores ask it back. */
  readonly thaw: ThawSettings;
  /** Where drills and restores without a place of their own go on this worker. */
  scratchPlace(store: string, name: string): RestorePlace;
  readonly drill: DrillSetup;
}

/** A store in a further repository. */
export interface StoreCopy {
  readonly name: string;
  /** It is told when it is further behind. */
  readonly maxLagSeconds: number;
  readonly copier: StoreCopier;
}

/** What the worker knows of itself. */
export interface ActivityDeps {
  readonly site: string;
  readonly hostId: string;
  /** Throws NotFound naming the applications that this worker serves. */
  open(application: string): OpenApplication;
}
