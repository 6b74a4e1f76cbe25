import { failure } from '../../core/errors';
import { copiesNamed } from '../copies';
import { isBackupId } from '../../core/layout';
import type { ProofKind } from '../../core/proofs';
import type { RecoveryTarget } from '../../core/recovery';
import type { Front } from '../front';
import { detachOption } from '../options';
import { readTarget } from '../recovery-target';
import { startVerify } from '../verify';

interface Options {
  all?: boolean;
  quick?: boolean;
  full?: boolean;
  restore?: boolean;
  backup?: string;
  to?: string;
  everyBackup?: boolean;
  seed?: string;
  site?: string;
  thaw?: boolean;
  copy?: string;
  detach?: boolean;
}

export function registerVerify(front: Front): void {
  front
    .command<Options>(
      front.program,
      'verify [stores...]',
      'prove that what is stored is there, is as it was written, and can be restored; changes nothing',
      [
        ['drctl verify --all --quick', 'every manifest, every object with its size, the log without holes'],
        ['drctl verify orders-db --full', 'reads a backup chosen by chance, its chain and its log completely'],
        ['drctl verify --all --full --every-backup', 'reads all that is stored'],
        ['drctl verify --all --quick --copy offsite', 'the same of the copies in another repository'],
        [
          'drctl verify orders-db --restore',
          'restores an instant by chance into a scratch server, reads it, removes it',
        ],
        ['drctl verify orders-db --restore --to latest', 'the same of the newest state'],
      ],
      async (session, named, options) => {
        const kind = kindOf(options);
        const stores = session.stores(named, options.all ?? false);
        const { copy } = options;
        return startVerify(session, {
          stores: copy === undefined ? stores : copiesNamed(session, stores, copy).map(({ store }) => store),
          copy,
          kind,
          backup: backupOf(options, kind),
          to: targetOf(options, kind, session.io.now()),
          seed: seedOf(options, kind),
          site: siteOf(options, kind, (site) => session.site(site)),
          thaw: thawOf(options),
          detach: options.detach ?? false,
        });
      },
    )
    .option('--all', 'every store of the config')
    .option('--quick', 'by listings and manifests alone; reads no data')
    .option('--full', 'reads a backup, its chain and the log behind it completely')
    .option('--restore', 'restores into a scratch server from the repository alone, timed against the objectives')
    .option('--backup <id>', 'this backup: to be read or restored (default: chance chooses)')
    .option(
      '--to <target>',
      'with --restore: latest, a time, … as `drctl restore` has it (default: an instant by chance)',
    )
    .option('--every-backup', 'with --full: all backups and all of the log')
    .option('--seed <number>', 'makes the choice of an earlier run again')
    .option('--site <site>', 'with --restore: whose worker restores (default: a site that is not active)')
    .option('--thaw', 'with --backup: ask back what of it lies in an archive class, and wait for hours or days')
    .option('--copy <repository>', 'the copies there; no other repository is read')
    .addOption(detachOption());
}

function thawOf({ thaw = false, backup }: Options): boolean {
  if (thaw && backup === undefined)
    throw failure('UsageInvalid', '--thaw is for one backup, which --backup names: it costs money and time');
  return thaw;
}

function kindOf({ quick, full, restore }: Options): ProofKind {
  const asked = Object.entries({ quick, full, restore }).flatMap(([kind, is]) => (is ? [kind as ProofKind] : []));
  const [kind] = asked;
  if (kind && asked.length === 1) return kind;
  throw failure('UsageInvalid', 'say how deep: one of --quick, --full and --restore');
}

function backupOf({ backup, everyBackup }: Options, kind: ProofKind) {
  if (everyBackup && kind !== 'full') throw failure('UsageInvalid', '--every-backup is for --full');
  if (everyBackup && backup !== undefined)
    throw failure('UsageInvalid', 'name a backup or say --every-backup, not both');
  if (everyBackup) return 'all' as const;
  if (backup === undefined) return undefined;
  if (kind === 'quick') throw failure('UsageInvalid', '--quick looks at every backup: --backup is for the others');
  if (!isBackupId(backup))
    throw failure('UsageInvalid', `"${backup}" is not a backup id`, {
      next: 'Ids are listed by `drctl backups list`.',
    });
  return { backupId: backup };
}

function targetOf({ to, backup }: Options, kind: ProofKind, now: Date): RecoveryTarget | undefined {
  if (to === undefined) return undefined;
  if (kind !== 'restore') throw failure('UsageInvalid', '--to is for --restore');
  if (backup !== undefined) throw failure('UsageInvalid', 'name a backup or a target, not both');
  return readTarget(to, now).target;
}

function seedOf({ seed, backup, to, everyBackup }: Options, kind: ProofKind): number | undefined {
  if (seed === undefined) return undefined;
  if (kind === 'quick' || backup !== undefined || to !== undefined || everyBackup)
    throw failure(
      'UsageInvalid',
      '--seed is for what chance chooses: --full and --restore without a backup or a target',
    );
  if (!/^\d{1,10}$/.test(seed) || Number(seed) >= 2 ** 32)
    throw failure('UsageInvalid', `--seed is "${seed}"; write a whole number below 2^32`);
  return Number(seed);
}

function siteOf({ site }: Options, kind: ProofKind, known: (site: string) => string): string | undefined {
  if (site !== undefined && kind !== 'restore') throw failure('UsageInvalid', '--site is for --restore');
  return site === undefined ? undefined : known(site);
}
