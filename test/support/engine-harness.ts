import { createHash, randomBytes } from 'node:crypto';
import { Readable, Writable } from 'node:stream';
import { manifestSchema } from '../../adapters/catalog/manifest-schema';
import { entryBytes } from '../../adapters/engines/postgresql/entry-bytes';
import { engineEntries, type EngineEntry, type EngineKind } from '../../adapters/engines/registry';
import { arrange, type ArrangedLog } from '../../adapters/repository/log-order';
import type { CallContext, Progress } from '../../core/call';
import { type Artifact, chainOf, type DumpResult, type EarlyFile, type Manifest } from '../../core/catalog';
import type { DumpPlan, Engine } from '../../core/engine';
import { failure } from '../../core/errors';
import { backupIdOf } from '../../core/layout';
import type { LogArchive, LogEntry, LogNaming, LogPiece, ReplacedSlices } from '../../core/log-archive';
import type { VolumeSink, VolumeSource } from '../../core/volumes';

/** A call that nobody cancels and nobody listens to; `reports` collects what was said. */
export function testContext(signal: AbortSignal = new AbortController().signal): CallContext & { reports: Progress[] } {
  const quiet = () => undefined;
  const reports: Progress[] = [];
  return {
    signal,
    log: { debug: quiet, info: quiet, warn: quiet, error: quiet },
    reports,
    progress: (report) => {
      reports.push(report);
      if (reports.length > 1_000) reports.splice(0, 500);
    },
  };
}

const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** Volumes in memory, for engines' tests: no codec, every digest checked on reading. */
export class MemoryVolumes implements VolumeSink, VolumeSource {
  readonly targetVolumeBytes: number;
  readonly contents = new Map<string, Buffer>();
  readonly earlyFiles = new Map<string, Buffer>();
  readonly digests = new Map<string, string>();

  constructor(targetVolumeBytes = 8 * 1024 * 1024) {
    this.targetVolumeBytes = targetVolumeBytes;
  }

  volume(name: string): Writable {
    if (this.contents.has(name)) throw new Error(`volume ${name} was opened twice`);
    const chunks: Buffer[] = [];
    this.contents.set(name, Buffer.alloc(0));
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        chunks.push(Buffer.from(chunk));
        setImmediate(done); // asynchronous, as a disk is: an engine that reuses its buffer too early is found out
      },
      final: (done) => {
        const content = Buffer.concat(chunks);
        this.contents.set(name, content);
        this.digests.set(name, sha256(content));
        done();
      },
    });
  }

  async early(...args: [string, Uint8Array] | [string, string]): Promise<never> {
    const [first, second] = args;
    if (typeof second !== 'string') {
      this.earlyFiles.set(first, Buffer.from(second));
      return undefined as never;
    }
    const found = this.earlyFiles.get(second);
    if (!found) throw failure('NotFound', `no early file ${second} of ${first}`);
    return found as never;
  }

  async open(artifact: Artifact): Promise<Readable> {
    const content = this.contents.get(artifact.name);
    if (!content) throw failure('NotFound', `no artifact ${artifact.key}`);
    const found = sha256(content);
    const self = async function* () {
      for (let at = 0; at < content.length; at += 65_536) yield content.subarray(at, at + 65_536);
      if (found !== artifact.contentSha256) throw failure('BackupCorrupt', `${artifact.key}: digest ${found}`);
    };
    return Readable.from(self(), { objectMode: false });
  }

  artifacts(prefix: string): Artifact[] {
    return [...this.contents].map(([name, content]) => ({
      name,
      key: `${prefix}${name}`,
      sizeBytes: content.length,
      contentBytes: content.length,
      sha256: this.digests.get(name) ?? 'unfinished',
      contentSha256: this.digests.get(name) ?? 'unfinished',
      codec: 'none' as const,
      encryptionKeyId: null,
    }));
  }

  earlyList(prefix: string): EarlyFile[] {
    return [...this.earlyFiles].map(([name, bytes]) => ({
      name,
      key: `${prefix}${name}`,
      sizeBytes: bytes.length,
      sha256: sha256(bytes),
    }));
  }
}

/** Sources of several backups at once, as a chain needs. */
export function combinedSource(volumes: ReadonlyMap<string, MemoryVolumes>): VolumeSource {
  const of = (backupId: string) => {
    const found = volumes.get(backupId);
    if (!found) throw failure('NotFound', `no backup ${backupId}`);
    return found;
  };
  return {
    open: async (artifact) => of(artifact.key.split('/')[0] as string).open(artifact),
    early: async (backupId, name) => of(backupId).early(backupId, name),
  };
}

/** A log archive in memory that keeps the promises of core/log-archive.ts. */
export class MemoryLogArchive implements LogArchive {
  private readonly naming: LogNaming;
  private readonly stored = new Map<string, { piece: LogPiece; content: Buffer }>();
  private readonly histories = new Map<string, Buffer>();
  private readonly damaged = new Set<string>();
  /** Called before each append: a test makes it throw, or waits in it. */
  beforeAppend: (piece: LogPiece) => Promise<void> = async () => undefined;

  constructor(naming: LogNaming) {
    this.naming = naming;
  }

  async append(piece: LogPiece): Promise<LogEntry> {
    await this.beforeAppend(piece);
    const key = `${piece.lineage}/${piece.name}`;
    const before = this.stored.get(key);
    const content = Buffer.from(piece.content);
    if (before && !before.content.equals(content))
      throw failure('LogGap', `${key} exists with other bytes (split brain)`);
    const read = this.naming.read(piece.lineage, piece.name);
    if (!read) throw new Error(`the engine's own naming does not read ${key}`);
    if (read.from.value !== piece.from.value || read.to.value !== piece.to.value || read.kind !== piece.kind) {
      throw new Error(`${key} is named otherwise than it says it is`);
    }
    this.stored.set(key, { piece, content });
    return this.entry(key);
  }

  async entries(lineage: string): Promise<LogEntry[]> {
    return this.arranged(lineage).visible.map((entry) => ({ ...entry, coversUntil: null }));
  }

  async lineages(): Promise<string[]> {
    return [...new Set([...this.stored.values()].map(({ piece }) => piece.lineage))];
  }

  async resolve(entry: LogEntry): Promise<LogEntry> {
    return this.entry(entry.key);
  }

  async open(entry: LogEntry): Promise<Readable> {
    const found = this.stored.get(entry.key);
    if (!found) throw failure('NotFound', `no log entry ${entry.key}`);
    if (this.damaged.has(entry.key)) throw failure('BackupCorrupt', `${entry.key} differs from its digest`);
    return Readable.from([found.content], { objectMode: false });
  }

  async lend<T>(entry: LogEntry, use: (content: Buffer) => Promise<T>): Promise<T> {
    return use(await entryBytes(this, entry));
  }

  async prove(entry: LogEntry): Promise<boolean> {
    await this.open(entry);
    return true;
  }

  async replaced(lineage: string): Promise<ReplacedSlices[]> {
    return this.arranged(lineage).replaced;
  }

  async replace(slices: readonly LogEntry[], segment: LogEntry): Promise<void> {
    if (!this.stored.has(segment.key)) throw failure('NotFound', `no log entry ${segment.key}`);
    for (const slice of slices) this.stored.delete(slice.key);
  }

  async putHistory(name: string, bytes: Uint8Array, { ifAbsent = false } = {}): Promise<void> {
    const before = this.histories.get(name);
    if (ifAbsent && before && !before.equals(bytes)) throw failure('LockHeld', `${name} exists with other bytes`);
    this.histories.set(name, Buffer.from(bytes));
  }

  async history(): Promise<ReadonlyMap<string, Buffer | Error>> {
    return this.histories;
  }

  /** Takes one entry away, as damage does. */
  lose(entry: LogEntry): void {
    this.stored.delete(entry.key);
  }

  /** It is there and cannot be read any more. */
  damage(entry: LogEntry): void {
    this.damaged.add(entry.key);
  }

  private entry(key: string): LogEntry {
    const { piece, content } = this.stored.get(key) as { piece: LogPiece; content: Buffer };
    const { lineage, name, kind, from, to, coversUntil } = piece;
    return { key, lineage, name, kind, from, to, coversUntil, sizeBytes: content.length };
  }

  private arranged(lineage: string): ArrangedLog {
    const keys = [...this.stored.keys()].filter((key) => this.stored.get(key)?.piece.lineage === lineage);
    return arrange(
      keys.map((key) => this.entry(key)),
      this.naming,
    );
  }
}

/** An engine as the worker gets it: made by the registry from what a config says. */
export async function engineOf(kind: EngineKind, store: string, settings: unknown): Promise<Engine> {
  const entry: EngineEntry = engineEntries[kind];
  return entry.create(store, entry.settings.parse(settings));
}

export interface TakenBackup {
  readonly manifest: Manifest;
  readonly plan: DumpPlan;
}

/** Plans and takes a backup into memory, and makes its manifest as the activities do. */
export async function takeBackup(
  engine: Engine,
  site: string,
  into: Map<string, MemoryVolumes>,
  existing: readonly Manifest[],
  options: { type?: 'full' | 'incr'; context?: CallContext; targetVolumeBytes?: number } = {},
): Promise<TakenBackup> {
  const ctx = options.context ?? testContext();
  const type = options.type ?? 'full';
  const backupId = backupIdOf(new Date().toISOString(), type, randomBytes(4).toString('hex'));
  const plan = await engine.planDump({ backupId, type, site, existing }, ctx);
  const volumes = new MemoryVolumes(options.targetVolumeBytes);
  const built = existing.find((each) => each.backupId === plan.parent);
  const parent = built ? { chain: chainOf(built, existing)!, source: combinedSource(into) } : null;
  const result: DumpResult = await engine.dump(plan, parent, volumes, ctx);
  into.set(plan.backupId, volumes);
  const manifest: Manifest = {
    ...result,
    formatVersion: 1,
    backupId: plan.backupId,
    application: 'test',
    store: engine.store,
    engine: engine.kind,
    type: plan.type,
    parent: plan.parent,
    typeReason: plan.typeReason,
    committedAt: new Date().toISOString(),
    artifacts: volumes.artifacts(`${plan.backupId}/`),
    early: volumes.earlyList(`${plan.backupId}/`),
    attempt: 1,
    workflowId: 'test',
    runId: 'test',
  };
  // The catalogue refuses what its schema does not know: an engine whose manifests drift from it could commit none.
  return { manifest: manifestSchema.parse(JSON.parse(JSON.stringify(manifest))), plan };
}
