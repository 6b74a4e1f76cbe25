import { copiesNamed, copyLines, lookAtCopies, startCopies } from '../copies';
import type { Front } from '../front';
import { detachOption } from '../options';

interface RunOptions {
  readonly to?: string;
  readonly whole?: boolean;
  readonly detach?: boolean;
}

export function registerCopies(front: Front): void {
  const group = front.group('copies', 'see and renew what further repositories hold of the backups and the log');

  front
    .command<{ to?: string }>(
      group,
      'list [stores...]',
      'how far each copy is, and what it lacks; reads listings only',
      [
        ['drctl copies list', 'every copy of every store'],
        ['drctl copies list orders-db --to offsite', 'one of them'],
      ],
      async (session, named, { to }) => {
        const wanted = copiesNamed(session, session.stores(named, named.length === 0), to);
        const copies = await lookAtCopies(session, wanted);
        session.print(copies, () => copyLines(copies));
      },
    )
    .option('--to <repository>', 'only the copies there');

  front
    .command<RunOptions>(
      group,
      'run [stores...]',
      'copy what is missing, now; goes on where an earlier run stopped, and asks no database',
      [
        ['drctl copies run', 'every copy of every store'],
        ['drctl copies run orders-db --to offsite --whole', 'and compare all of the log, not only its end'],
      ],
      (session, named, { to, whole = false, detach = false }) =>
        startCopies(session, {
          copies: copiesNamed(session, session.stores(named, named.length === 0), to),
          wholeListing: whole,
          detach,
        }),
    )
    .option('--to <repository>', 'only the copies there')
    .option('--whole', 'compare everything; without it that is done once a day')
    .addOption(detachOption());
}
