import type { Manifest } from '../core/catalog';
import { countOf, formatBytes, formatDuration } from '../core/clock';
import type { RecoveryWindow } from '../core/recovery';
import type { Hold } from '../core/retention/records';
import { relativeTime, shortTime, tableLines } from './table';

/** One member of a chain, as it is shown. */
export interface ChainPart {
  readonly backupId: string;
  readonly type: string;
  readonly consistentAt: string;
  readonly storedBytes: number;
  readonly contentBytes: number;
}

/** A manifest, with what follows from it and its neighbours. */
export interface ShownBackup extends Manifest {
  readonly hold: Hold | null;
  readonly storedBytes: number;
  readonly contentBytes: number;
  /** Full first, itself last; null where a member is missing: it cannot be restored then. */
  readonly chain: readonly ChainPart[] | null;
  /** Backups that cannot be restored without it. */
  readonly neededBy: readonly string[];
  /** The instants that its chain and the log reach. */
  readonly restores: readonly RecoveryWindow[];
  readonly hasLog: boolean;
}

export function backupLines(shown: ShownBackup, now: Date): string[] {
  const fact = (name: string, text: string) => `  ${name.padEnd(9)}  ${text}`;
  const { source } = shown;
  const took = Date.parse(shown.committedAt) - Date.parse(shown.startedAt);
  const standby = source.follows === undefined ? '' : `, a standby of ${source.follows}`;
  return [
    `${shown.backupId}  ${shown.type} of ${shown.store} (${shown.engine} ${shown.serverVersion})`,
    '',
    fact('state of', `${shortTime(shown.consistentAt)} (${relativeTime(shown.consistentAt, now)})`),
    fact('taken', `from ${shortTime(shown.startedAt)}, in ${formatDuration(took)}`),
    fact('read from', `${source.member} at ${source.site}${standby}`),
    ...(shown.typeReason === null ? [] : [fact('because', shown.typeReason)]),
    ...(shown.start && shown.stop
      ? [fact('log', `${shown.start.value} to ${shown.stop.value} of ${shown.lineage}`)]
      : []),
    fact('identity', shown.identity),
    fact('size', sizeText(shown)),
    ...(keysOf(shown).length > 0 ? [fact('encrypted', `with the data key ${keysOf(shown).join(', ')}`)] : []),
    ...(folderOf(shown) === null ? [] : [fact('stored in', folderOf(shown) as string)]),
    ...restoreFacts(shown).map((text, index) => fact(index === 0 ? 'restores' : '', text)),
    ...(shown.neededBy.length > 0
      ? [fact('needed by', `${countOf(shown.neededBy.length, 'later backup')}: ${shown.neededBy.join(', ')}`)]
      : []),
    ...(shown.hold
      ? [fact('held', `by ${shown.hold.by} since ${shortTime(shown.hold.at)}: ${shown.hold.reason}`)]
      : []),
    ...shown.warnings.map((warning) => fact('warning', warning)),
    fact('made by', `${shown.workflowId}, attempt ${shown.attempt}`),
    '',
    ...chainLines(shown),
    ...artifactLines(shown),
  ];
}

function sizeText({ storedBytes, contentBytes, artifacts }: ShownBackup): string {
  if (artifacts.length === 0) return 'no data of its own: it is the archived log from the end of its full on';
  return `${formatBytes(storedBytes)} stored of ${formatBytes(contentBytes)}, ${countOf(artifacts.length, 'artifact')}`;
}

/** The part of the keys that all artifacts share; null where there are none. */
function folderOf({ artifacts }: ShownBackup): string | null {
  const [folder, ...others] = new Set(artifacts.map(({ key }) => key.slice(0, key.lastIndexOf('/') + 1)));
  return folder === undefined || others.length > 0 ? null : folder;
}

function restoreFacts({ chain, restores, hasLog, consistentAt }: ShownBackup): string[] {
  if (chain === null) return ['NOTHING: a backup that it builds on is missing'];
  if (!hasLog) return [`the state of ${shortTime(consistentAt)}`];
  if (restores.length === 0) return ['NOTHING: the log that it needs is not archived'];
  return restores.map(
    ({ from, to, lineage }) => `any time from ${shortTime(from)} to ${shortTime(to)}, along ${lineage}`,
  );
}

function chainLines({ chain, backupId }: ShownBackup): string[] {
  if (chain === null || chain.length === 1) return [];
  const sum = (of: (part: ChainPart) => number) => formatBytes(chain.reduce((total, part) => total + of(part), 0));
  const rows = chain.map((part) => [
    `${part.backupId}${part.backupId === backupId ? ' <' : ''}`,
    shortTime(part.consistentAt),
    formatBytes(part.storedBytes),
    formatBytes(part.contentBytes),
  ]);
  const total = [
    `${countOf(chain.length, 'backup')} together`,
    '',
    sum((part) => part.storedBytes),
    sum((part) => part.contentBytes),
  ];
  return [...tableLines(['chain', 'state of', 'stored', 'content'], [...rows, total]), ''];
}

function artifactLines({ artifacts }: ShownBackup): string[] {
  if (artifacts.length === 0) return [];
  return tableLines(
    ['artifact', 'stored', 'content', 'codec', 'sha-256 of the stored bytes'],
    artifacts.map(({ name, sizeBytes, contentBytes, codec, sha256 }) => [
      name,
      formatBytes(sizeBytes),
      formatBytes(contentBytes),
      codec,
      `${sha256.slice(0, 16)}…`,
    ]),
  );
}

function keysOf({ artifacts }: Manifest): string[] {
  return [...new Set(artifacts.flatMap(({ encryptionKeyId }) => encryptionKeyId ?? []))];
}
