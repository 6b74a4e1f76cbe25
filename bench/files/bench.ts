import * as fs from 'node:fs';
import * as path from 'node:path';
import type { RestoreStoresResult } from '../../core/runs';
import { runToEnd } from '../../lab/servers/process';
import type { Bench } from '../bench';
import { type Aim, figure, type Figure, median, unmeasured } from '../figure';
import { type Product, protect, STORE } from '../product';
import { type Rig, withRig } from '../rig';
import { type PeerBackup, PIPE, pipeBackup, Restic, resticName } from './peers';
import { ApplicationTree } from './tree';

const MEGABYTES = 3_000;
const SYNC_MILLISECONDS = 600_000;

/** Of each round; the peers' are empty where they are missing. */
interface Samples {
  readonly ours: number[];
  readonly theirs: number[];
}

interface Rounds {
  readonly first: Samples;
  readonly pipe: number[];
  readonly unchanged: Samples;
  readonly changed: Samples;
  readonly restore: Samples;
  readonly added: number[];
  readonly changedBytes: number[];
  readonly stored: Samples;
  readonly commands: number[];
}

export const files: Bench = {
  summary: 'a tree of 100,000 files and 3 GB against restic and tar | zstd -T2 | upload',
  run: ({ rounds, say, megabytes }) =>
    withRig(say, async (rig) => {
      const tree = new ApplicationTree(path.join(rig.folder, 'tree'), megabytes ?? MEGABYTES);
      say(`a tree of ${tree.files} files is there`);
      const product = await protect(rig, {
        application: 'tree',
        host: '127.0.0.1',
        config: () => ({ engine: 'files', sites: { primary: { roots: [tree.root] } } }),
        newest: async () => '',
        isArchived: async () => true,
      });
      const empty = (): Samples => ({ ours: [], theirs: [] });
      const measured: Rounds = {
        ...{ first: empty(), unchanged: empty(), changed: empty(), restore: empty(), stored: empty() },
        ...{ pipe: [], added: [], changedBytes: [], commands: [] },
      };
      for (let round = 1; round <= rounds; round += 1) await measure(rig, product, tree, round, measured);
      return figuresOf(measured, `${tree.files} files, ${megabytes ?? MEGABYTES} MB`);
    }),
};

async function measure(rig: Rig, product: Product, tree: ApplicationTree, round: number, into: Rounds): Promise<void> {
  const ours = async (type: 'full' | 'incr') => {
    await product.work();
    await settled();
    const backup = await product.backUp(type);
    await product.rest();
    await settled();
    return backup;
  };
  const restic = resticName() === null ? null : await Restic.init(rig);
  const theirs = async (samples: Samples): Promise<PeerBackup | null> => {
    if (!restic) return null;
    const backup = await restic.backUp(tree.root);
    samples.theirs.push(backup.seconds);
    return backup;
  };
  const full = await ours('full');
  into.first.ours.push(full.seconds);
  into.commands.push(full.commandSeconds);
  into.stored.ours.push(full.storedBytes / 2 ** 20);
  into.pipe.push((await pipeBackup(rig, tree.root)).seconds);
  const first = await theirs(into.first);
  if (first) into.stored.theirs.push(first.storedBytes / 2 ** 20);
  into.unchanged.ours.push((await ours('incr')).seconds);
  await theirs(into.unchanged);
  const changed = tree.change(round);
  const incremental = await ours('incr');
  into.changed.ours.push(incremental.seconds);
  await theirs(into.changed);
  into.added.push(incremental.storedBytes / 2 ** 10);
  into.changedBytes.push(tree.compressedBytes(changed) / 2 ** 10);
  into.restore.ours.push(await restoreOurs(rig, product, tree, incremental.backupId));
  if (restic) into.restore.theirs.push(await restoreTheirs(rig, restic, tree));
  const { first: one, unchanged, changed: some, restore } = into;
  const words = Object.entries({ first: one, unchanged, changed: some, restore }).map(
    ([what, each]) => `${what} ${each.ours.at(-1)?.toFixed(1)} s to ${each.theirs.at(-1)?.toFixed(1) ?? '-'} s`,
  );
  rig.say(`  round ${round}, ours to restic: ${words.join(', ')}; the pipe ${into.pipe.at(-1)?.toFixed(1)} s`);
}

/** From the command until all files are there; what is read for the fingerprint after that is not in it. */
async function restoreOurs(rig: Rig, product: Product, tree: ApplicationTree, backupId: string): Promise<number> {
  await product.work();
  await settled();
  const into = path.join(product.restoreFolder, 'tree');
  const started = Date.now();
  const { restoreId } = await product.drctl<RestoreStoresResult>(
    ...['restore', STORE, '--to', backupId, '--into', into, '--yes'],
  );
  const open = (await product.restoreSteps(restoreId)).get('open');
  if (!open) throw new Error('the restore has no step "open"');
  await product.rest();
  await requireEqual(into, tree, rig);
  return (open.endedAt - started) / 1_000;
}

async function restoreTheirs(rig: Rig, restic: Restic, tree: ApplicationTree): Promise<number> {
  await settled();
  const into = path.join(rig.folder, 'restic-restore');
  const seconds = await restic.restore(into);
  await requireEqual(into, tree, rig);
  return seconds;
}

/** A restore that is fast and wrong fails the run. Removes it. */
async function requireEqual(into: string, { root }: ApplicationTree, { folder }: Rig): Promise<void> {
  await runToEnd({ argv: ['diff', '-rq', into + root, root], cwd: folder }, { deadlineMs: SYNC_MILLISECONDS });
  await fs.promises.rm(into, { recursive: true, force: true });
}

/** What earlier measurements left to be written must not be part of the next. */
async function settled(): Promise<void> {
  await runToEnd({ argv: ['sync'], cwd: '/' }, { deadlineMs: SYNC_MILLISECONDS });
}

function figuresOf(measured: Rounds, what: string): Figure[] {
  const restic = resticName();
  const beside = (name: string, { ours, theirs }: Samples, aim: Aim, unit = 's', note?: string): Figure =>
    restic === null
      ? unmeasured({ name, unit, peer: 'restic', aim, why: "restic is not installed: Debian's package restic has it" })
      : figure({ name, unit, values: ours, peer: { name: restic, values: theirs }, aim, ...(note ? { note } : {}) });
  const note = `the whole command took ${median(measured.commands).toFixed(1)} s`;
  return [
    beside(`first backup of ${what}, planned to committed`, measured.first, { ratioAtMost: 0.5 }, 's', note),
    figure({
      name: `first backup of ${what}`,
      unit: 's',
      values: measured.first.ours,
      peer: { name: PIPE, values: measured.pipe },
      aim: { ratioAtMost: 0.95 },
    }),
    beside('stored by the first', measured.stored, null, 'MiB'),
    beside('a second with nothing changed', measured.unchanged, { ratioAtMost: 0.35 }),
    beside('one file in 1,000 changed', measured.changed, { ratioAtMost: 0.4 }),
    figure({
      name: 'bytes that this one added, its listing and the tree of directories included',
      unit: 'KiB',
      values: measured.added,
      peer: { name: 'the changed files, tar | zstd -3', values: measured.changedBytes },
      aim: { ratioAtMost: 1.2 },
    }),
    beside('restore of it, command to the last file', measured.restore, { ratioAtMost: 0.7 }),
  ];
}
