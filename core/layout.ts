import { basicTime } from './clock';
import type { ArtifactKind, BackupType } from './catalog';

/**
 * The keys of the repository (DESIGN §4), relative to `<prefix>/<application>/`, which the repository adapter adds.
 * Nothing else builds a key.
 */
export const layout = {
  manifests: (store: string) => `catalog/${store}/`,
  manifest: (store: string, backupId: string) => `catalog/${store}/${backupId}.json`,
  early: (store: string, backupId: string, name: string) => `catalog/${store}/${backupId}/${name}`,
  /** Which attempt of a backup may be committed; created once, by the commit or by the sweep that came first. */
  decision: (store: string, backupId: string) => `catalog/${store}/${backupId}/decision.json`,
  history: (store: string, name = '') => `catalog/${store}/history/${name}`,
  storeData: (kind: ArtifactKind, store: string) => `data/${kind}/${store}/`,
  backupData: (kind: ArtifactKind, store: string, backupId: string) => `data/${kind}/${store}/${backupId}/`,
  /** Each attempt has its own folder: an attempt believed dead can never overwrite what its successor stores. */
  attempt: (kind: ArtifactKind, store: string, backupId: string, attempt: number) =>
    `data/${kind}/${store}/${backupId}/attempt-${attempt}/`,
  /**
   * One of an attempt, as it is stored. Listings lie beside the manifest: the next incremental and whoever looks for a file read
   * them, so that no lifecycle rule may move them. Those of older backups lie with the volumes; manifests say where.
   */
  artifact: (kind: ArtifactKind, store: string, backupId: string, attempt: number, name: string): string =>
    /\.(jsonl|list)(\.|$)/.test(name)
      ? layout.early(store, backupId, `attempt-${attempt}/${name}`)
      : `${layout.attempt(kind, store, backupId, attempt)}${name}`,
  logs: (store: string) => `data/log/${store}/`,
  log: (store: string, lineage: string, name = '') => `data/log/${store}/${lineage}/${name}`,
  epochs: () => 'epochs/',
  /** Ten digits, so that a listing is in order. */
  epoch: (epoch: number) => `epochs/${String(epoch).padStart(10, '0')}.json`,
  reports: () => 'reports/',
  report: (id: string, extension: 'json' | 'md' | 'html') => `reports/${id}.${extension}`,
  keys: () => 'keys/',
  /** A data key, wrapped; from its second revision on with the number, so that none is ever replaced. */
  key: (keyId: string, revision: number) => `keys/${keyId}${revision === 1 ? '' : `.r${revision}`}.json`,
  proofs: (store: string) => `proofs/${store}/`,
  proof: (store: string, proofId: string) => `proofs/${store}/${proofId}.json`,
  /** What retention goes by besides the backups: holds, runs that read, marks, sweeps under way. */
  retention: (kind: 'holds' | 'released' | 'uses' | 'marks' | 'sweeps', store: string, name = '') =>
    `retention/${kind}/${store}/${name}`,
  /** In a copy: how much of the store it holds. */
  copy: (store: string) => `copies/${store}.json`,
  /** How ready the site was to take over when it was looked at last. */
  readiness: (site: string) => `readiness/${site}.json`,
  /** Overwritten with each look: that it can be is what is looked for. */
  writeCheck: (site: string) => `readiness/${site}.write-check`,
  /** Replication samples of all stores, measured before trouble and kept at the DR side. */
  samples: () => 'samples/replication.json',
  /** The same as they were when the loss of a role change was priced, by its run: the others go on. */
  samplesOfRun: (runId: string) => `samples/run-${runId}.json`,
  /** How many backups were ever taken and how many failed; see core/monitoring/tally.ts. */
  tally: () => 'monitoring/backups.json',
  /** The newest judgement of every store, and what people were told of. */
  health: () => 'monitoring/health.json',
  /** What is kept of a day: `uptime`, `health`, `readiness-<site>`. */
  day: (day: string, what: string) => `days/${day}/${what}.json`,
  /** The TTL that a record had before it was lowered for a move. */
  loweredTtl: (name: string, type: string) => `dns/${name}-${type}.json`,
} as const;

/**
 * What an encrypted object is bound to: its key below `data/<kind>/` or `catalog/`. Another object, also one of another backup,
 * that is put in its place does not decrypt there.
 */
export function boundName(key: string): string {
  return key
    .split('/')
    .slice(key.startsWith('catalog/') ? 1 : 2)
    .join('/');
}

const BACKUP_ID = /^\d{8}T\d{6}Z-(full|incr)-[0-9a-f]{8}$/;

/** `<UTC basic time>-<full|incr>-<8 hex>`; sorts by time. */
export function backupIdOf(takenAt: string, type: BackupType, hex8: string): string {
  return `${basicTime(takenAt)}-${type}-${hex8}`;
}

/** When a backup was begun, as its id says, in milliseconds. */
export function beganAt(backupId: string): number {
  const [, date = '', hours, minutes, seconds] = /^(\d{8})T(\d\d)(\d\d)(\d\d)Z/.exec(backupId) ?? [];
  const day = `${date.slice(0, 4)}-${date.slice(4, 6)}-${date.slice(6)}`;
  return Date.parse(`${day}T${hours}:${minutes}:${seconds}Z`);
}

/** The backup that an object belongs to, by its key; null for one of none. */
export function backupIdIn(key: string): string | null {
  return (
    key
      .split('/')
      .map((part) => part.replace(/\.json$/, ''))
      .find(isBackupId) ?? null
  );
}

export function isBackupId(text: string): boolean {
  return BACKUP_ID.test(text);
}

/** Whether an id says that it is a full. */
export function isFullId(backupId: string): boolean {
  return BACKUP_ID.exec(backupId)?.[1] === 'full';
}

/** When a backup was begun, by its id: whole seconds, ISO 8601. */
export function startOfBackup(backupId: string): string {
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z/.exec(backupId) ?? [];
  return `${year}-${month}-${day}T${hour}:${minute}:${second}.000Z`;
}
