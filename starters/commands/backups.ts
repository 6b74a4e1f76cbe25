import type { DamagedManifest } from '../../core/catalog-store';
import { formatBytes } from '../../core/clock';
import { chainOf, type Manifest, storedBytes } from '../../core/catalog';
import { failure } from '../../core/errors';
import { isBackupId } from '../../core/layout';
import type { Hold } from '../../core/retention/records';
import { dependentsOf } from '../../core/verification';
import { backupLines, type ChainPart, type ShownBackup } from '../backup-lines';
import type { Front } from '../front';
import { limitOption } from '../options';
import type { Session } from '../session';
import { relativeTime, shortTime, tableLines } from '../table';

export function registerBackups(front: Front): void {
  const group = front.group('backups', 'list and show the backups in the repository');

  front
    .command<{ limit: string }>(
      group,
      'list [stores...]',
      'backups of every store, or of the ones named, newest first',
      [
        ['drctl backups list', 'everything that could be restored'],
        ['drctl backups list orders-db --limit 5', 'the newest five of one store'],
      ],
      async (session, named, { limit }) => {
        const stores = session.stores(named, named.length === 0);
        const manifests = (await Promise.all(stores.map((store) => list(session, store)))).flatMap((each) =>
          each.toReversed().slice(0, Number(limit)),
        );
        const damaged = (await Promise.all(stores.map((store) => damagedOf(session, store)))).flat();
        const holds = (await Promise.all(stores.map((store) => holdsOf(session, store)))).flat();
        const holdOn = (backupId: string) => holds.find((each) => each.backupId === backupId) ?? null;
        const shown = [...manifests.map((each) => ({ ...summary(each), hold: holdOn(each.backupId) })), ...damaged];
        session.print(shown, () => [...listLines(manifests, holdOn, session.io.now()), ...damagedLines(damaged)]);
      },
    )
    .addOption(limitOption('at most this many of each store'));

  front.command(
    group,
    'show <backup>',
    'one backup: where it lies, what it holds, what it depends on',
    [['drctl backups show 20261122T020000Z-full-1a2b3c4d', 'an id from `drctl backups list`']],
    async (session, [backupId = '']) => {
      if (!isBackupId(backupId))
        throw failure('UsageInvalid', `"${backupId}" is not a backup id`, {
          next: 'Ids are listed by `drctl backups list`.',
        });
      for (const store of Object.keys(session.config.stores)) {
        const all = await list(session, store);
        const found = all.find((each) => each.backupId === backupId);
        if (found) {
          const shown = await described(session, found, all);
          return session.print(shown, () => backupLines(shown, session.io.now()));
        }
      }
      throw failure('NotFound', `there is no backup ${backupId} of any store in ${session.config.file}`);
    },
  );
}

async function list(session: Session, store: string): Promise<Manifest[]> {
  return (await session.open()).catalog(store).list(store);
}

async function described(session: Session, manifest: Manifest, all: readonly Manifest[]): Promise<ShownBackup> {
  const open = await session.open();
  const { store, consistentAt } = manifest;
  const chain = chainOf(manifest, all);
  const log = open.logArchive(store);
  const windows = chain && log ? await open.engine(store).windows({ backups: chain, log }) : [];
  return {
    ...manifest,
    storedBytes: storedBytes(manifest),
    contentBytes: contentBytes(manifest),
    chain: chain?.map(partOf) ?? null,
    neededBy: dependentsOf(manifest.backupId, all).map(({ backupId }) => backupId),
    restores: windows
      .filter(({ to }) => Date.parse(to) >= Date.parse(consistentAt))
      .map((each) => (Date.parse(each.from) < Date.parse(consistentAt) ? { ...each, from: consistentAt } : each)),
    hasLog: log !== null,
    hold: (await open.retentionStore(store).holds()).find((each) => each.backupId === manifest.backupId) ?? null,
  };
}

const partOf = (manifest: Manifest): ChainPart => ({
  backupId: manifest.backupId,
  type: manifest.type,
  consistentAt: manifest.consistentAt,
  storedBytes: storedBytes(manifest),
  contentBytes: contentBytes(manifest),
});

async function damagedOf(session: Session, store: string): Promise<DamagedManifest[]> {
  return (await session.open()).catalog(store).damaged(store);
}

function damagedLines(damaged: readonly DamagedManifest[]): string[] {
  if (damaged.length === 0) return [];
  const lines = damaged.map(({ store, backupId, problem }) => `  ${store}  ${backupId}: ${problem}`);
  return ['', 'These backups cannot be restored; take a full backup of their stores now:', ...lines];
}

const summary = (manifest: Manifest) => ({
  backupId: manifest.backupId,
  store: manifest.store,
  engine: manifest.engine,
  type: manifest.type,
  parent: manifest.parent,
  consistentAt: manifest.consistentAt,
  committedAt: manifest.committedAt,
  storedBytes: storedBytes(manifest),
  contentBytes: contentBytes(manifest),
});

const contentBytes = ({ artifacts }: Manifest) => artifacts.reduce((sum, each) => sum + each.contentBytes, 0);

async function holdsOf(session: Session, store: string): Promise<Hold[]> {
  return (await session.open()).retentionStore(store).holds();
}

function listLines(manifests: readonly Manifest[], holdOn: (backupId: string) => Hold | null, now: Date): string[] {
  if (manifests.length === 0) return ['There are no backups yet. Take one with: drctl backup --all'];
  return tableLines(
    ['store', 'backup', 'type', 'state of', 'age', 'stored', 'content', ''],
    manifests.map((each) => [
      each.store,
      each.backupId,
      each.type,
      shortTime(each.consistentAt),
      relativeTime(each.consistentAt, now),
      formatBytes(storedBytes(each)),
      formatBytes(contentBytes(each)),
      holdOn(each.backupId) ? 'held' : '',
    ]),
  );
}
