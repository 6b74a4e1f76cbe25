import { setTimeout as sleep } from 'node:timers/promises';
import type { CallContext } from '../../../core/call';
import { failure } from '../../../core/errors';
import type { VolumeSink } from '../../../core/volumes';
import { readBackupManifest } from './backup-manifest';
import { damagedSource } from './damaged-pages';
import { parseLsn } from './lsn';
import { MemberCheck } from './member-check';
import { ReplicationConnection } from './replication-connection';
import type { PostgresqlSite } from './settings';
import { VolumeCutter } from './volume-cutter';

export interface BaseBackup {
  readonly startLsn: bigint;
  readonly stopLsn: bigint;
  readonly timeline: number;
  readonly manifestBytes: number;
  readonly warnings: readonly string[];
}

export interface BaseBackupOptions {
  readonly label: string;
  readonly checkpoint: 'fast' | 'spread';
  readonly maxRateKilobytesPerSecond: number | undefined;
  /** The parent's backup_manifest for an incremental; null for a full. */
  readonly parentManifest: Buffer | null;
}

/** The manifest of a cluster of a million files is about 200 MB; more than this is not one. */
const MANIFEST_LIMIT_BYTES = 1024 * 1024 * 1024;
/**
 * The server takes a checksum of every byte it sends, on the one core that sends. A build without the processor's SHA
 * instructions takes 5 s a gigabyte for SHA-256 and a tenth of a second for this; what guards against people instead of
 * accidents are the SHA-256 of every volume, in our own manifest.
 */
const CHECKSUMS = 'CRC32C';
const PROGRESS_BYTES = 32 * 1024 * 1024;

/**
 * Copies a cluster into the sink by BASE_BACKUP, the server's own command, with its manifest as the early file
 * `backup_manifest`. The server verifies page checksums while it reads; a failed one fails the backup (BackupCorrupt), and so
 * does a file that arrives otherwise than the manifest says.
 * WAL is left out: it comes from the archived log.
 */
export async function baseBackup(
  site: PostgresqlSite,
  options: BaseBackupOptions,
  sink: VolumeSink,
  ctx: CallContext,
): Promise<BaseBackup> {
  const connection = await ReplicationConnection.open(site, ctx);
  const check = new MemberCheck(CHECKSUMS);
  const cutter = new VolumeCutter(sink, check, {
    onFull: () => connection.pause(),
    onDrained: () => connection.resume(),
    onError: (error) => connection.abandon(error),
  });
  try {
    const warnings: string[] = [];
    connection.onNotice(({ severity, message }) => {
      if (severity === 'WARNING' && warnings.length < 100) warnings.push(message);
    });
    if (options.parentManifest) await uploadManifest(connection, options.parentManifest, ctx);
    const receiver = new StreamReceiver(cutter, ctx);
    const results = await connection
      .copyOut(command(options), (message) => receiver.take(message))
      .catch(async (error: unknown) => {
        ctx.signal.throwIfAborted();
        throw await damagedSource(site, error, warnings, ctx);
      });
    const [start, , stop] = results;
    const [startLsn, timeline] = start?.[0] ?? [];
    const [stopLsn, stopTimeline] = stop?.[0] ?? [];
    if (!startLsn || !timeline || !stopLsn) {
      throw failure('BackupIncomplete', `the base backup of ${site.host}:${site.port} ended without its stop position`);
    }
    if (stopTimeline !== timeline) {
      throw failure(
        'BackupIncomplete',
        `${site.host}:${site.port} went from timeline ${timeline} to ${stopTimeline} while it was copied`,
      );
    }
    await cutter.finish();
    const manifest = receiver.manifest();
    const where = `the base backup of ${site.host}:${site.port}`;
    check.compare(readBackupManifest(manifest, where).files, where);
    await sink.early('backup_manifest', manifest);
    return {
      startLsn: parseLsn(startLsn),
      stopLsn: parseLsn(stopLsn),
      timeline: Number(timeline),
      manifestBytes: manifest.length,
      warnings,
    };
  } catch (error) {
    cutter.destroy(error instanceof Error ? error : new Error(String(error)));
    throw error;
  } finally {
    await connection.close();
  }
}

function command(options: BaseBackupOptions): string {
  const parts = [
    `LABEL '${options.label.replaceAll("'", "''")}'`,
    `CHECKPOINT '${options.checkpoint}'`,
    'WAIT false', // whether the log is archived is our own archiver's business, not archive_command's
    'PROGRESS true',
    "MANIFEST 'yes'",
    `MANIFEST_CHECKSUMS '${CHECKSUMS}'`,
    'TABLESPACE_MAP true', // tablespaces as a file that a restore can edit, never as links to the source's own paths
    ...(options.parentManifest ? ['INCREMENTAL true'] : []),
    ...(options.maxRateKilobytesPerSecond ? [`MAX_RATE ${options.maxRateKilobytesPerSecond}`] : []),
  ];
  return `BASE_BACKUP (${parts.join(', ')})`;
}

/** The messages inside the copy (protocol "BASE_BACKUP", PostgreSQL 15+): archives, the manifest, progress. */
class StreamReceiver {
  private readonly cutter: VolumeCutter;
  private readonly ctx: CallContext;
  private readonly manifestParts: Buffer[] = [];
  private manifestBytes = 0;
  private inManifest = false;
  private doneBytes = 0;
  private reportedBytes = 0;

  constructor(cutter: VolumeCutter, ctx: CallContext) {
    this.cutter = cutter;
    this.ctx = ctx;
  }

  take(message: Buffer): void {
    const kind = String.fromCharCode(message[0] as number);
    const body = message.subarray(1);
    if (kind === 'd') this.content(body);
    else if (kind === 'n') this.archive(body);
    else if (kind === 'm') this.inManifest = true;
    else if (kind !== 'p')
      throw failure('BackupIncomplete', `the server sent an unknown message "${kind}" in a base backup`);
    if (kind === 'p' || this.doneBytes - this.reportedBytes >= PROGRESS_BYTES) this.report();
  }

  manifest(): Buffer {
    return Buffer.concat(this.manifestParts);
  }

  private content(body: Buffer): void {
    if (!this.inManifest) {
      this.doneBytes += body.length;
      return this.cutter.push(body);
    }
    this.manifestBytes += body.length;
    if (this.manifestBytes > MANIFEST_LIMIT_BYTES) throw failure('BackupIncomplete', 'the backup manifest has no end');
    this.manifestParts.push(Buffer.from(body)); // the driver reuses its buffer
  }

  /** Two C strings: the archive's name (`base.tar`, `16384.tar`) and the tablespace's path. */
  private archive(body: Buffer): void {
    const name = body.toString('utf8', 0, body.indexOf(0));
    this.inManifest = false;
    this.cutter.begin(name === 'base.tar' ? null : name.replace(/\.tar$/, ''));
  }

  private report(): void {
    this.reportedBytes = this.doneBytes;
    this.ctx.progress({ phase: 'copying base backup', doneBytes: this.doneBytes });
  }
}

/** Hands the parent's manifest to the server (PostgreSQL 17+), so that it knows what has changed since. */
async function uploadManifest(connection: ReplicationConnection, manifest: Buffer, ctx: CallContext): Promise<void> {
  ctx.progress({ phase: "sending the parent's manifest" });
  await connection.copyIn('UPLOAD_MANIFEST', async (send) => {
    for (let at = 0; at < manifest.length; at += 65_536) {
      send(manifest.subarray(at, at + 65_536));
      if (at % (64 * 65_536) === 0) await sleep(0); // lets the socket drain between megabytes
    }
  });
}
