import * as fs from 'node:fs/promises';
import type { RestorePlan } from '../../../core/recovery';
import type { BackupDetail } from './dump';
import { timelineOf } from './lsn';
import { isInclusive, xidOf } from './recovery-target';
import type { Account } from '../restore-host';
import { RESTORE_COMMAND } from './restore-command';
import type { PlacePaths } from './restore-place';

/** How a value is written in postgresql.conf: in quotes, quotes and backslashes doubled. */
function quoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

export interface RestoredServerConfig {
  readonly host: string;
  readonly port: number;
  readonly detail: BackupDetail;
  /** Found out by the server itself when the source had raised them after the backup. */
  readonly raised: Readonly<Record<string, string>>;
  /** Null once the server was opened. */
  readonly recovery: RestorePlan | null;
}

/**
 * Writes the restored server's whole configuration. The source's own files stay in the data directory and are not read:
 * they name the source's archive, addresses, primaries and paths, none of which a copy may touch (rule 5).
 */
export async function writeServerConfig(
  paths: PlacePaths,
  config: RestoredServerConfig,
  owner: Account,
): Promise<void> {
  const segmentMebibytes = config.detail.segmentBytes / 2 ** 20;
  const needed = { ...config.detail.recoverySettings, ...config.raised };
  const lines: [string, string][] = [
    ['listen_addresses', config.host],
    ['port', String(config.port)],
    ['unix_socket_directories', paths.socket],
    ['unix_socket_permissions', '0700'],
    ['hba_file', paths.hba],
    ['archive_mode', 'off'],
    ['hot_standby', 'on'],
    ['max_wal_size', '4GB'],
    // The server's own default, and what it asks for at least (xlog.c: two segments).
    ['min_wal_size', `${Math.max(80, 2 * segmentMebibytes)}MB`],
    ['recovery_init_sync_method', 'syncfs'],
    // A sign of life in the log for whoever waits for the replay.
    ['log_startup_progress_interval', '5s'],
    ['log_line_prefix', '%m [%p] '],
    ['logging_collector', 'off'],
    ['log_destination', 'stderr'],
    ...Object.entries(needed).filter(([, value]) => value !== ''),
    ...(config.recovery ? recoveryLines(config.recovery) : []),
  ];
  await writeOwned(paths.config, lines.map(([name, value]) => `${name} = ${quoted(value)}\n`).join(''), owner);
  // The socket's folder can be entered by the server's user (and root) only: that is what stands for a password there.
  const hba = ['local all all trust', 'host all all 127.0.0.0/8 scram-sha-256', 'host all all ::1/128 scram-sha-256'];
  await writeOwned(paths.hba, `${hba.join('\n')}\n`, owner);
}

function recoveryLines(plan: RestorePlan): [string, string][] {
  return [
    ['restore_command', RESTORE_COMMAND],
    // Pinned: `latest` would follow whatever history file lies in the archive.
    ['recovery_target_timeline', String(timelineOf(plan.lineage ?? ''))],
    ['recovery_target_action', 'pause'],
    ...targetLines(plan),
  ];
}

function targetLines({ target, reaches }: RestorePlan): [string, string][] {
  const inclusive: [string, string] = ['recovery_target_inclusive', isInclusive(target) ? 'on' : 'off'];
  const at = reaches.position?.value;
  switch (target.kind) {
    case 'backup':
      return [['recovery_target', 'immediate']];
    case 'time':
      return [['recovery_target_time', reaches.time.replace('T', ' ').replace('Z', '+00')], inclusive];
    case 'transaction':
      return [['recovery_target_xid', String(xidOf(target.id))], inclusive];
    case 'position':
      return [['recovery_target_lsn', at ?? target.text], inclusive];
    default:
      // The record that was found when the plan was made. A restore point that was not is looked for by its name.
      return at === undefined && target.kind === 'name'
        ? [['recovery_target_name', target.name]]
        : [['recovery_target_lsn', at ?? ''], inclusive];
  }
}

/** For a server that is shut down at its target: whoever starts it wants to use it, and not to find it paused again. */
export async function openWhenStarted(paths: PlacePaths, owner: Account): Promise<void> {
  const config = await fs.readFile(paths.config, 'utf8');
  await writeOwned(
    paths.config,
    config.replace(/^recovery_target_action = .*$/m, "recovery_target_action = 'promote'"),
    owner,
  );
}

export async function writeOwned(file: string, content: string, owner: Account): Promise<void> {
  await fs.writeFile(`${file}.new`, content, { mode: 0o600, flush: true });
  if (process.getuid?.() === 0) await fs.chown(`${file}.new`, owner.uid, owner.gid);
  await fs.rename(`${file}.new`, file);
}
