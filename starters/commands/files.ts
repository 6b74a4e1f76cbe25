import { resolve } from 'node:path';
import { failure } from '../../core/errors';
import { shellPattern } from '../../core/shell-pattern';
import { PathVersions, treeChanges } from '../../core/tree-changes';
import { changeLines, entryLines, listed, newestStates, stateAt, versionLines } from '../files';
import type { Front } from '../front';
import { limitOption } from '../options';
import { quietContext } from '../quiet-context';
import type { Session } from '../session';

const AT = ['--at <target>', 'the state to look at: latest, a time or a backup id', 'latest'] as const;

export function registerFiles(front: Front): void {
  const group = front.group('files', 'look into the backups of file trees, and take single files out of them');

  front
    .command<{ at: string; recursive?: boolean }>(
      group,
      'ls <store> [path]',
      'what lies in a directory, in the state of a backup',
      [
        ['drctl files ls application', 'the directories that are backed up'],
        ['drctl files ls application /opt/ultramarket/config --at "2 days ago"', 'as it was then'],
      ],
      async (session, [store = '', path], { at, recursive }) => {
        const state = await stateAt(session, store, at);
        const entries = await listed(state, path, recursive ?? false);
        session.print({ backupId: state.manifest.backupId, entries }, () => entryLines(entries));
      },
    )
    .option(...AT)
    .option('-R, --recursive', 'everything below it');

  front
    .command<{ limit: string }>(
      group,
      'find <store> <pattern>',
      'where a name is in the backups, each version of it, and since when it is gone',
      [
        ['drctl files find application "*.pem"', 'by name'],
        ['drctl files find application "/opt/ultramarket/config/*"', 'a pattern with a slash is of the whole path'],
      ],
      (session, [store = '', pattern = ''], { limit }) =>
        showVersions(session, store, shellPattern(pattern), limit, `nothing named ${pattern}`),
    )
    .addOption(limitOption('look into this many backups, from the newest on'));

  front
    .command<{ limit: string }>(
      group,
      'versions <store> <path>',
      'every version of one path in the backups',
      [
        [
          'drctl files versions application /opt/ultramarket/config/app.yaml',
          'when it changed, and where each version is',
        ],
      ],
      (session, [store = '', path = ''], { limit }) =>
        showVersions(session, store, (each) => each === path, limit, `no ${path}`),
    )
    .addOption(limitOption('look into this many backups, from the newest on'));

  front.command(
    group,
    'diff <store> <from> [to]',
    'what changed between two states: + added, - removed, M content, A mode or owner, T type',
    [
      ['drctl files diff configuration "7 days ago"', 'since then, up to the newest backup'],
      ['drctl files diff application 20261121T020000Z-full-1a2b3c4d 20261122T020000Z-full-5e6f7a8b', 'of two backups'],
    ],
    async (session, [store = '', from = '', to = 'latest']) => {
      const [before, after] = [await stateAt(session, store, from), await stateAt(session, store, to)];
      const changes = await treeChanges(before.entries(), after.entries());
      session.print({ from: before.manifest.backupId, to: after.manifest.backupId, changes }, () => [
        `${before.manifest.backupId} -> ${after.manifest.backupId}`,
        ...changeLines(changes),
      ]);
    },
  );

  front
    .command<{ at: string; into: string }>(
      group,
      'get <store> <path>',
      'write a file, or a directory with all in it, below an empty directory on this machine',
      [
        [
          'drctl files get application /opt/ultramarket/config/app.yaml --into ./found',
          'reads only the volume that holds it; writes ./found/opt/ultramarket/config/app.yaml',
        ],
      ],
      async (session, [store = '', path = ''], { at, into }) => {
        const { chain, manifest, contents, source } = await stateAt(session, store, at);
        const directory = resolve(into);
        const entries = await contents.extract({ chain, path, directory }, source, quietContext());
        session.print({ backupId: manifest.backupId, directory, entries }, () => [
          `${entries} ${entries === 1 ? 'entry' : 'entries'} of ${manifest.backupId} written below ${directory}`,
        ]);
      },
    )
    .option(...AT)
    .requiredOption(
      '--into <directory>',
      'an empty directory, or one that is not there; it gets the full path below it',
    );
}

async function showVersions(
  session: Session,
  store: string,
  wanted: (path: string) => boolean,
  limit: string,
  missing: string,
): Promise<void> {
  const states = await newestStates(session, store, Number(limit));
  const versions = new PathVersions();
  for (const state of states) {
    for await (const entry of state.entries()) if (wanted(entry.path)) versions.add(state.manifest.backupId, entry);
  }
  const found = versions.all();
  const newest = states.at(-1)?.manifest.backupId ?? '';
  if (found.length === 0) throw failure('NotFound', `there is ${missing} in the ${states.length} backups looked into`);
  const paths = found.map(([path, all]) => ({ path, isGone: all.at(-1)?.until !== newest, versions: all }));
  session.print({ backups: states.map(({ manifest }) => manifest.backupId), paths }, () => versionLines(found, newest));
}
