import type { BackupContents } from './backup-contents';
import type { CallContext } from './call';
import type { ArtifactKind, BackupType, DumpResult, DumpSource, Manifest } from './catalog';
import type { LogArchive, LogNaming } from './log-archive';
import type { Position, PositionCodec } from './positions';
import type {
  Fingerprint,
  Leave,
  RecoveryTarget,
  RecoveryWindow,
  RestoredStore,
  RestorePlace,
  RestorePlan,
} from './recovery';
import type { RestoreChecks } from './restore-checks';
import type { LogReach } from './retention/log-reach';
import type { Replication } from './roles';
import type { Selection } from './selection';
import type { VolumeSink, VolumeSource } from './volumes';

/** What a primary holds of its log until it is archived. */
export interface KeptLog {
  /** What holds it, in the server's own words: a replication slot's name. */
  readonly holder: string;
  /**
   * `reading`: an archiver is connected. `waiting`: none is, the log is kept for it. `endangered`: the server will drop what
   * is not archived yet. `lost`: it may have done so already. `absent`: nothing holds the log any more. `unused`: nothing does
   * yet, because no archiver ever ran here, or none since it was promoted.
   */
  readonly state: 'reading' | 'waiting' | 'endangered' | 'lost' | 'absent' | 'unused';
  /** Written by the server and not known to it to be durable in the archive; null where nothing is held. */
  readonly keptBytes: number | null;
  /** How much more may be written before it is lost; null: without limit, or nothing is held. */
  readonly headroomBytes: number | null;
}

/** What a look at one site's server says. Never throws for a server that is down: it says so. */
export interface StoreProbe {
  readonly site: string;
  readonly at: string;
  readonly reachable: boolean;
  readonly role: 'primary' | 'replica' | 'standalone' | 'unknown';
  /** Whether it accepts writes now; null when that could not be found out. */
  readonly writable: boolean | null;
  readonly identity: string | null;
  readonly serverVersion: string | null;
  readonly position: Position | null;
  /** Why it is unreachable, or what an administrator should mend, each with the exact setting. */
  readonly problems: readonly string[];
  /** Absent where nothing is held for an archiver: at a standby, and by engines that hold nothing. */
  readonly keptLog?: KeptLog;
  /** How long after a backup began an incremental can still build on it; absent: no limit, or no incrementals. */
  readonly incrementalWithinSeconds?: number;
}

export interface DumpRequest {
  readonly backupId: string;
  /** Where the log itself is the incremental (`LogShipping.end`): always `full`. */
  readonly type: BackupType;
  /** The site that is active now; the engine picks the member to read from by its own settings. */
  readonly site: string;
  /** Every backup of the store, newest last: an engine finds the parent of an incremental here. */
  readonly existing: readonly Manifest[];
}

/** What a dump will do, settled before it starts. Small plain JSON. */
export interface DumpPlan {
  readonly backupId: string;
  readonly type: BackupType;
  /** Why type or source differ from what was asked; else null. */
  readonly typeReason: string | null;
  readonly parent: string | null;
  readonly source: DumpSource;
  readonly estimatedBytes: number | null;
}

/** What an incremental builds on: the manifests of its parent's chain, full first, and where their content is read. */
export interface ParentBackup {
  readonly chain: readonly Manifest[];
  readonly source: VolumeSource;
}

/**
 * One store behind one interface, whatever its engine. An instance knows the store's endpoints at every site and their
 * secrets; callers name sites only. Methods may be repeated with the same arguments, honour `ctx.signal` within a second,
 * report progress at least every few seconds, leave no process and no session behind, and keep memory constant in the size
 * of the data. Errors are of `core/errors.ts`; an unreachable server is TargetUnreachable and retryable.
 *
 * `log` is null for engines that cannot be restored between backups, `replication` for those with no role to change.
 */
export interface Engine<E extends string = string> {
  readonly kind: E;
  readonly store: string;
  /** Where its artifacts live below `data/`. */
  artifactKind(type: BackupType): ArtifactKind;
  readonly positions: PositionCodec<E>;
  readonly log: LogShipping | null;
  readonly replication: Replication | null;

  /** Absent for engines whose archiver writes none. */
  readonly heartbeat?: StoreHeartbeat;

  /** True where content changes as time passes (keys that expire): two restores of one state may differ then. */
  readonly contentAges?: boolean;

  probe(site: string, ctx: CallContext): Promise<StoreProbe>;

  /** Chooses member and type. An incremental that cannot be taken becomes a full, and `typeReason` says why. */
  planDump(request: DumpRequest, ctx: CallContext): Promise<DumpPlan>;

  /**
   * Copies the store into the sink, from the beginning each time it is called. Resolves after every volume finished.
   * What it leaves in the sink when it throws is thrown away by the caller. Throws IncrementalRefused where only a full
   * will do, though the plan was for an incremental.
   */
  dump(plan: DumpPlan, parent: ParentBackup | null, sink: VolumeSink, ctx: CallContext): Promise<DumpResult>;

  /**
   * Chooses the chain and the part of the log. Throws PitrTargetUnreachable naming the range that exists; never takes a
   * later or earlier state silently (an engine without a log answers the nearest earlier backup, `exact: false`).
   */
  planRestore(target: RecoveryTarget, catalog: StoreCatalog, ctx: CallContext): Promise<RestorePlan>;

  /** The instants that can be restored, oldest first. */
  windows(catalog: StoreCatalog): Promise<RecoveryWindow[]>;

  readonly restore: Restore;
  /** Absent for engines whose backups do not consist of files that a person knows. */
  readonly contents?: BackupContents;
  /** What the config wants to hold in every restored copy; null for engines that cannot be asked. */
  readonly checks: RestoreChecks | null;

  /**
   * Content of the live store at a site, or of a restored one, comparable with `compareFingerprints`. The same content
   * gives the same fingerprint on any server version that is supported.
   */
  fingerprint(of: { readonly site: string } | RestoredStore, ctx: CallContext): Promise<Fingerprint>;
}

/** What is stored of one store. */
export interface StoreCatalog {
  /** Committed backups, oldest first. */
  readonly backups: readonly Manifest[];
  /** Null for stores without a log. */
  readonly log: LogArchive | null;
}

export interface RestoreRequest {
  readonly restoreId: string;
  readonly plan: RestorePlan;
  /** The manifests of `plan.chain`, full first. */
  readonly chain: readonly Manifest[];
  readonly place: RestorePlace;
}

/**
 * The steps of a restore, in order. Each can be repeated, also after a later one began and failed; a marker in the place
 * tells what belongs to this `restoreId`. The source is never contacted.
 */
export interface Restore {
  /** What `open`, or nothing after `replay`, or `shutDown` can leave behind. */
  readonly leaves: readonly Leave[];
  /**
   * The plan for a part of the store; `plan.selection` then names it. Throws UsageInvalid for names that cannot be. Absent for
   * engines that restore a store whole.
   */
  select?(plan: RestorePlan, selection: Selection): RestorePlan;
  /** Writes the chain into the place and makes it ready for replay. Throws TargetNotEmpty for what it did not make itself. */
  rebuild(request: RestoreRequest, source: VolumeSource, log: LogArchive | null, ctx: CallContext): Promise<void>;
  /** Replays up to the target and stops there; resolves at once where there is nothing to replay. */
  replay(request: RestoreRequest, log: LogArchive | null, ctx: CallContext): Promise<RestoredStore>;
  /**
   * Opens the restored store for reading and writing on its own lineage, archiving off, and leaves it running
   * independently of the worker.
   */
  open(request: RestoreRequest, ctx: CallContext): Promise<RestoredStore>;
  /**
   * Ends the server that was replayed so that it only has to be started: it then comes up at the target. Only where `leaves`
   * names `shutdown`.
   */
  shutDown?(request: RestoreRequest, ctx: CallContext): Promise<RestoredStore>;
  /**
   * Kills the server of an opened place as a crash would and sees it gone; `open` then brings it back. Answers its process,
   * null where none runs. Absent for engines without a server.
   */
  crash?(place: RestorePlace, ctx: CallContext): Promise<number | null>;
  /** Stops what runs in the place and removes it. Only ever touches a place that carries the marker of a restore. */
  discard(place: RestorePlace, ctx: CallContext): Promise<void>;
}

/** The record with the source's time that an archiver writes into the store each second. */
export interface StoreHeartbeat {
  /** That of a restored copy; null where none had been written. */
  in(restored: RestoredStore, ctx: CallContext): Promise<string | null>;
  /**
   * One that the archive noted when it stored it, and that was committed by the instant on the way that the plan takes: the
   * state of the instant holds it or a later one. Null where none is known; absent where the archive notes none.
   */
  notedBefore?(instant: string, plan: RestorePlan, catalog: StoreCatalog): Promise<string | null>;
}

export interface ArchiveRequest {
  readonly site: string;
  /** Return after about this long, so that the workflow can continue as new; sooner only for a reason. */
  readonly runForMilliseconds: number;
  readonly sliceMilliseconds: number;
  /** What earlier calls said with `needsBase` and the caller has taken up: the log goes on behind these gaps. */
  readonly answeredGaps?: readonly string[];
}

/**
 * How an archive activity ended. `needsBase`: the log has a gap or begins anew, so that a new full is needed now. Nothing
 * behind the gap is stored before the caller comes back with the same words among `answeredGaps`: what is stored there would
 * hide the gap from a next try, should this one die before it has told.
 */
export interface ArchiveOutcome {
  readonly lineage: string;
  readonly durable: Position;
  readonly coversUntil: string | null;
  readonly entriesStored: number;
  readonly needsBase: string | null;
}

export interface ArchiveProgress {
  readonly durable: Position;
  readonly coversUntil: string | null;
  readonly entriesStored: number;
}

/** Where a store's log ends now. */
export interface LogEnd {
  /** Of the server's log, whether it is archived yet or not. */
  readonly position: Position;
  /** By the source's clock: all that was executed by then lies before the position. ISO 8601. */
  readonly at: string;
  readonly identity: string;
  readonly serverVersion: string;
  readonly source: DumpSource;
}

export interface LogShipping {
  readonly naming: LogNaming;
  /**
   * Asks the site's primary; once the archive reaches the position, it covers the instant. An incremental backup is such an
   * end, sealed (core/sealed-log.ts). Absent where the engine has incrementals of its own.
   */
  end?(site: string, ctx: CallContext): Promise<LogEnd>;
  /**
   * Whether what is archived of the position's lineage behind it changes data; an archiver's own marks do not. Absent where all
   * of the log counts as changes.
   */
  changesBehind?(position: Position, archive: LogArchive, ctx: CallContext): Promise<boolean>;
  /** What restores read of the log: what they may read is not deleted. */
  readonly reach: LogReach;
  /**
   * Follows the store's log and stores it, resuming at what is durable. Only one archiver of a store runs at a time (the
   * workflow's id sees to it); a second one harms nothing. Throws LogGap where the server's log is not the continuation of
   * what is archived (another history, or an earlier state): no new base would mend that, a person has to look.
   */
  archive(
    request: ArchiveRequest,
    archive: LogArchive,
    onDurable: (progress: ArchiveProgress) => void,
    ctx: CallContext,
  ): Promise<ArchiveOutcome>;
  /**
   * Removes what an archiver left at the source (a replication slot) once it is no longer wanted there, whatever the role
   * of the server is by then. Repeatable; LockHeld while an archiver is at work there.
   */
  release(site: string, ctx: CallContext): Promise<void>;
}
