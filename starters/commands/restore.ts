import { Option } from 'commander';
import { failure } from '../../core/errors';
import type { Front } from '../front';
import { copiesNamed } from '../copies';
import { LEAVES, type Leave } from '../../core/recovery';
import { readSelection } from '../../core/selection';
import { THAW_TIERS, type ThawTier } from '../../core/thaw';
import { readTarget, withChoice } from '../recovery-target';
import { planRestore, startRestore } from '../restore';

interface Options {
  all?: boolean;
  to: string;
  into?: string;
  inclusive?: boolean;
  exclusive?: boolean;
  timeline?: string;
  leave: Leave;
  include: string[];
  rename: string[];
  thawTier?: ThawTier;
  port?: string;
  site?: string;
  from?: string;
  overwrite?: boolean;
  delta?: boolean;
  dryRun?: boolean;
  yes?: boolean;
  detach?: boolean;
}

export function registerRestore(front: Front): void {
  front
    .command<Options>(
      front.program,
      'restore [stores...]',
      'restore stores into a new place, to the state of a moment; the running stores are not touched',
      [
        ['drctl restore orders-db --to "10 minutes ago" --into /restore/orders', 'show the plan, ask, restore'],
        [
          'drctl restore --all --to 2026-11-22T13:05:03Z --into /restore --yes',
          'every store to one instant, each below /restore',
        ],
        ['drctl restore orders-db --to latest --into /restore/orders --dry-run', 'the plan only; starts nothing'],
        [
          'drctl restore catalog --to latest --include shop.orders --rename shop.orders=shop.old --into /restore/catalog',
          'one collection, under another name',
        ],
        ['drctl restore orders-db --to xid:48213 --exclusive --into /restore/orders', 'just before one transaction'],
        ['drctl restore orders-db --to 20261122T020000Z-full-1a2b3c4d --into /restore/orders', 'exactly one backup'],
      ],
      async (session, named, options) => {
        const { all, to, into, port, site, from, overwrite, delta, dryRun, yes, detach, leave, thawTier } = options;
        const selection = readSelection(options.include, options.rename);
        const { target: read, note } = readTarget(to, session.io.now());
        const target = withChoice(read, options);
        if (note) session.io.note(`Note: ${note}`);
        if (into === undefined && !dryRun) throw failure('UsageInvalid', 'say where to restore to, with --into DIR');
        const atSite = site === undefined ? null : session.site(site);
        const stores = session.stores(named, all ?? false);
        if (selection !== null && stores.length > 1)
          throw failure('UsageInvalid', '--include and --rename are for one store');
        if (from !== undefined) for (const store of stores) copiesNamed(session, [store], from);
        const request = {
          stores,
          copy: from ?? null,
          target,
          into: into ?? session.config.restore.directory,
          port: portOf(port),
          overwrite: overwrite ?? false,
          delta: delta ?? false,
          leave,
          thawTier,
          selection,
        };
        if (dryRun) return planRestore(session, request);
        return startRestore(session, {
          ...request,
          site: atSite,
          approved: yes ?? false,
          detach: detach ?? false,
        });
      },
    )
    .option('--all', 'every store of the config, to the same moment')
    .requiredOption(
      '--to <target>',
      'latest, a time, a backup id, name:<restore point>, xid:<transaction id> or position:<log position>',
    )
    .option('--inclusive', "with what lies exactly at the target (PostgreSQL's default)")
    .option('--exclusive', 'up to just before a time, position or transaction')
    .option('--timeline <number>', 'the timeline to end on (default: the newest that holds the target)')
    .addOption(
      new Option('--leave <state>', 'open for writing; paused at the target, readable; or shut down, ready to start')
        .choices(LEAVES)
        .default('open'),
    )
    .addOption(
      new Option(
        '--thaw-tier <tier>',
        'how fast backups in an archive class are asked back (default: restore.thaw.tier of the config)',
      ).choices(THAW_TIERS),
    )
    .option(
      '--include <name>',
      'MongoDB: only this database or collection (shop.orders); may be repeated',
      gathered,
      [],
    )
    .option('--rename <from=to>', 'MongoDB: restore it under another name; may be repeated', gathered, [])
    .option('--into <directory>', 'an empty directory on the worker; with several stores each gets its own below it')
    .option('--port <port>', 'port of the restored server (default: a free one)')
    .option('--site <site>', 'whose worker restores (default: the active site)')
    .option('--from <repository>', 'the copy to read, and nothing else (default: whatever is intact, copies last)')
    .option('--overwrite', 'replace what an earlier restore left in the directory')
    .option(
      '--delta',
      "PostgreSQL: keep what is right of an earlier restore, or of the stopped server's own data directory",
    )
    .option('--dry-run', 'show the plan and start nothing')
    .option('-y, --yes', 'do not ask')
    .option('--detach', 'do not wait: it waits for `approve` unless --yes is given');
}

const gathered = (value: string, before: string[]) => [...before, value];

function portOf(text: string | undefined): number {
  if (text === undefined) return 0;
  const port = Number(text);
  if (!Number.isInteger(port) || port < 1 || port > 65_535)
    throw failure('UsageInvalid', `--port is "${text}"; write a number from 1 to 65535`);
  return port;
}
