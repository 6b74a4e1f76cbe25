import { Option } from 'commander';
import type { BackupType } from '../../core/catalog';
import { startBackup } from '../backup';
import type { Front } from '../front';
import { detachOption } from '../options';

export function registerBackup(front: Front): void {
  front
    .command<{ all?: boolean; type: BackupType; detach?: boolean }>(
      front.program,
      'backup [stores...]',
      'back up stores now',
      [
        ['drctl backup orders-db', 'a full backup of one store, followed to its end'],
        ['drctl backup --all --type incr', 'an incremental of every store (a full where none can be)'],
        ['drctl backup --all --detach', 'start it and return at once'],
      ],
      (session, named, { all, type, detach }) =>
        startBackup(session, { stores: session.stores(named, all ?? false), type, detach: detach ?? false }),
    )
    .option('--all', 'every store of the config')
    .addOption(new Option('--type <type>', 'kind of backup').choices(['full', 'incr']).default('full'))
    .addOption(detachOption());
}
