import { planStoreRestore } from '../activities/plan-restore';
import type { BackupContents, ContentEntry } from '../core/backup-contents';
import { chainOf, type Manifest } from '../core/catalog';
import { formatBytes } from '../core/clock';
import { failure } from '../core/errors';
import type { PathVersion, TreeChange } from '../core/tree-changes';
import type { VolumeSource } from '../core/volumes';
import { quietContext } from './quiet-context';
import { readTarget } from './recovery-target';
import type { Session } from './session';
import { shortTime, tableLines } from './table';

/** The state that a backup holds, to be looked into. */
export interface BackedUpState {
  readonly chain: readonly Manifest[];
  readonly manifest: Manifest;
  readonly contents: BackupContents;
  readonly source: VolumeSource;
  entries(): AsyncIterable<ContentEntry>;
}

/** `at` is what `--to` of a restore takes: latest, a time, a backup id. Throws UsageInvalid for a store of another engine. */
export async function stateAt(session: Session, store: string, at: string): Promise<BackedUpState> {
  const open = await session.open();
  const contents = await contentsOf(session, store);
  const { target, note } = readTarget(at, session.io.now());
  if (note) session.io.note(`Note: ${note}`);
  const plan = await planStoreRestore(open, { store, target }, quietContext());
  const backups = await open.catalog(store).list(store);
  const chain = plan.chain.map((id) => backups.find(({ backupId }) => backupId === id) as Manifest);
  return stateOf(session, contents, chain);
}

/** The states of the newest backups, oldest first. */
export async function newestStates(session: Session, store: string, limit: number): Promise<BackedUpState[]> {
  const contents = await contentsOf(session, store);
  const backups = await (await session.open()).catalog(store).list(store);
  const chains = backups.slice(-limit).map((each) => chainOf(each, backups));
  // One whose chain is not whole has no state.
  return Promise.all(chains.filter((each) => each !== null).map((chain) => stateOf(session, contents, chain)));
}

async function stateOf(session: Session, contents: BackupContents, chain: readonly Manifest[]): Promise<BackedUpState> {
  const manifest = chain.at(-1) as Manifest;
  const reading = (await session.open()).reading(manifest.store);
  const source = reading.source(chain, { readFirst: false, fromLocalTier: true });
  return { chain, manifest, contents, source, entries: () => contents.entries(chain, source, quietContext()) };
}

async function contentsOf(session: Session, store: string): Promise<BackupContents> {
  session.stores([store], false);
  const { contents, kind } = (await session.open()).engine(store);
  if (contents) return contents;
  throw failure('UsageInvalid', `${store} is a store of ${kind}: what its backups hold are no files to be looked into`);
}

/** What lies in a directory, or all below it; the roots where no path is given. By path. */
export async function listed(
  state: BackedUpState,
  path: string | undefined,
  recursive: boolean,
): Promise<ContentEntry[]> {
  const plain = path?.replace(/(?<=.)\/+$/, '');
  const directories = new Set<string>();
  const found: ContentEntry[] = [];
  let itself: ContentEntry | null = null;
  for await (const entry of state.entries()) {
    if (plain === undefined && entry.type === 'directory') directories.add(entry.path);
    if (entry.path === plain) itself = entry;
    if (isListed(entry, plain, recursive)) found.push(entry);
  }
  if (plain !== undefined && itself === null) {
    throw failure('NotFound', `backup ${state.manifest.backupId} of ${state.manifest.store} has no ${plain}`, {
      next: 'Paths begin with "/"; `drctl files find` looks for a name in all backups.',
    });
  }
  const shown = itself && itself.type !== 'directory' ? [itself] : found;
  const roots =
    recursive || plain !== undefined ? shown : shown.filter(({ path: each }) => !directories.has(parentOf(each)));
  return roots.toSorted((a, b) => (a.path < b.path ? -1 : 1));
}

function isListed({ path, type }: ContentEntry, directory: string | undefined, recursive: boolean): boolean {
  if (directory === undefined) return recursive || type === 'directory';
  return recursive ? path === directory || path.startsWith(`${directory}/`) : parentOf(path) === directory;
}

const parentOf = (path: string) => path.slice(0, path.lastIndexOf('/'));

export function entryLines(entries: readonly ContentEntry[]): string[] {
  if (entries.length === 0) return ['It is empty.'];
  return tableLines(
    ['mode', 'owner', 'size', 'modified', 'name'],
    entries.map((each) => [
      modeText(each),
      `${each.uid}:${each.gid}`,
      each.type === 'file' ? formatBytes(each.sizeBytes) : '-',
      shortTime(each.modifiedAt),
      each.target === null ? each.path : `${each.path} -> ${each.target}`,
    ]),
  );
}

const TYPE_LETTERS = { file: '-', directory: 'd', link: 'l', fifo: 'p', socket: 's', device: 'b' } as const;

/** `-rw-r-----`, as `ls -l` has it; the special bits in digits. */
function modeText({ type, mode }: ContentEntry): string {
  const bits = Number.parseInt(mode, 8);
  const letters = Array.from('rwxrwxrwx', (letter, index) => (bits & (0o400 >> index) ? letter : '-')).join('');
  return `${TYPE_LETTERS[type]}${letters}${bits > 0o777 ? ` ${mode}` : ''}`;
}

const SIGNS = { added: '+', removed: '-', changed: 'M', attributes: 'A', type: 'T' } as const;

export function changeLines(changes: readonly TreeChange[]): string[] {
  const lines = changes.map(
    ({ path, kind, before, after }) => `${SIGNS[kind]} ${path}${difference(kind, before, after)}`,
  );
  const counts = Object.keys(SIGNS)
    .map((kind) => [kind, changes.filter((each) => each.kind === kind).length] as const)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${kind}`);
  return [...lines, counts.length === 0 ? 'Nothing changed.' : `${counts.join(', ')}.`];
}

function difference(kind: TreeChange['kind'], before: ContentEntry | null, after: ContentEntry | null): string {
  if (!before || !after) return '';
  if (kind === 'type') return `  ${before.type} -> ${after.type}`;
  if (kind === 'attributes')
    return `  ${before.mode} ${before.uid}:${before.gid} -> ${after.mode} ${after.uid}:${after.gid}`;
  if (after.target !== null) return `  ${before.target} -> ${after.target}`;
  return `  ${formatBytes(before.sizeBytes)} -> ${formatBytes(after.sizeBytes)}`;
}

/** What a name was, version by version; the newest last. `newest`: the last backup that was looked into. */
export function versionLines(found: readonly (readonly [string, readonly PathVersion[]])[], newest: string): string[] {
  const rows = found.flatMap(([path, versions]) =>
    versions.map(({ entry, from, until, backups }, index) => [
      path,
      modeText(entry),
      entry.type === 'file' ? formatBytes(entry.sizeBytes) : '-',
      shortTime(entry.modifiedAt),
      String(backups),
      from,
      until === newest ? 'the newest has it' : index === versions.length - 1 ? `${until}, then gone` : until,
    ]),
  );
  return tableLines(['path', 'mode', 'size', 'modified', 'backups', 'from', 'until'], rows);
}
