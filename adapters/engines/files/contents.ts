import * as fs from 'node:fs/promises';
import * as path from 'node:path';
import type { BackupContents, ContentEntry } from '../../../core/backup-contents';
import { failure } from '../../../core/errors';
import { absent } from '../../filesystem/absent';
import { bytesOf, type ListedEntry, pathOf, readState } from './listing';
import { printable } from './tree-walk';
import { unpackVolumes, volumesOf } from './unpacking';
import { WantedMembers } from './wanted-members';

/** Reads the listing of a backup, and of its volumes only those with what is to be unpacked. */
export function filesContents(devices: boolean): BackupContents {
  return {
    async *entries(chain, source, ctx) {
      for await (const entry of readState(chain, source)) {
        ctx.signal.throwIfAborted();
        yield contentEntry(entry);
      }
    },

    async extract({ chain, path: wantedPath, directory }, source, ctx) {
      const last = chain.at(-1);
      if (!last) throw failure('NotFound', 'no backup was named');
      const wanted = await WantedMembers.read(chain, source, ctx, atOrBelow(wantedPath));
      if (wanted.selected === 0) {
        throw failure('NotFound', `backup ${last.backupId} of ${last.store} has no ${wantedPath}`, {
          next: 'Paths begin with "/"; `drctl files find` looks for a name in all backups.',
        });
      }
      await requireEmpty(directory);
      const into = { directory, devices };
      const volumes = volumesOf(chain, wanted);
      await unpackVolumes(volumes, source, into, ctx, () => removeMates(directory, wanted.mates));
      await removeMates(directory, wanted.linkMates);
      return wanted.selected;
    },
  };
}

function contentEntry(entry: ListedEntry): ContentEntry {
  const { type, sizeBytes, mtimeNs, ctimeNs, inode, mode, uid, gid, target, targetBase64, backup, volume } = entry;
  const linkTarget = target === undefined && targetBase64 === undefined ? null : bytesOf(target, targetBase64);
  return {
    path: printable(pathOf(entry)),
    type,
    sizeBytes,
    modifiedAt: new Date(Number(BigInt(mtimeNs) / 1_000_000n)).toISOString(),
    mode,
    uid,
    gid,
    target: linkTarget === null ? null : printable(linkTarget),
    backup,
    volume,
    state: [sizeBytes, mtimeNs, ctimeNs, inode, mode, uid, gid].join(' '),
  };
}

/** The path as a person types it, or copied from where it was shown. */
function atOrBelow(wanted: string): (path: Buffer) => boolean {
  const plain = wanted.replace(/(?<=.)\/+$/, '');
  const isIn = (each: string) => each === plain || each.startsWith(plain === '/' ? plain : `${plain}/`);
  return (each) => isIn(each.toString('utf8')) || isIn(printable(each));
}

async function requireEmpty(directory: string): Promise<void> {
  const found = (await fs.readdir(directory).catch(absent)) ?? [];
  if (found.length > 0) {
    throw failure('TargetNotEmpty', `${directory} holds ${found.slice(0, 3).join(', ')}`, {
      next: 'Name a directory that is empty or not there.',
    });
  }
  await fs.mkdir(directory, { recursive: true, mode: 0o700 });
}

/** With the directories that were made for them alone. */
async function removeMates(directory: string, mates: readonly Buffer[]): Promise<void> {
  for (const mate of mates) {
    await fs.rm(Buffer.concat([Buffer.from(`${directory}/`), mate]), { force: true });
    for (let parent = path.dirname(mate.toString('latin1')); parent !== '.'; parent = path.dirname(parent)) {
      const made = Buffer.concat([Buffer.from(`${directory}/`), Buffer.from(parent, 'latin1')]);
      const isEmpty = (await fs.readdir(made)).length === 0;
      if (!isEmpty) break;
      await fs.rmdir(made);
    }
  }
}
