import { hash } from 'node:crypto';
import type { Manifest } from '../../../core/catalog';
import type { VolumeSource } from '../../../core/volumes';
import { pathOf, readListing } from './listing';

/**
 * Which members of a chain's volumes make up its last state: each name from the one backup that the listing of the last names.
 * Holds about 60 bytes a file.
 */
export class WantedMembers {
  /** Of what is to be unpacked, holes included. */
  contentBytes = 0;
  readonly #names = new Map<string, Set<string>>();
  readonly #volumes = new Set<string>();

  static async read(last: Manifest, source: VolumeSource, signal: AbortSignal): Promise<WantedMembers> {
    const wanted = new WantedMembers();
    for await (const line of readListing(last, source)) {
      signal.throwIfAborted();
      if (line.type === 'directory' || line.type === 'link') continue;
      const backup = line.backup ?? last.backupId;
      wanted.contentBytes += line.sizeBytes;
      wanted.#volumes.add(`${backup}/${line.volume}`);
      const names = wanted.#names.get(backup);
      const key = keyOf(pathOf(line).subarray(1));
      if (names) names.add(key);
      else wanted.#names.set(backup, new Set([key]));
    }
    return wanted;
  }

  /** Whether anything of the volume is. */
  inVolume(backupId: string, volume: string): boolean {
    return this.#volumes.has(`${backupId}/${volume}`);
  }

  inBackup(backupId: string): boolean {
    return this.#names.has(backupId);
  }

  /** `name` in bytes as latin1, from below `/` on. */
  has(backupId: string, name: string): boolean {
    return this.#names.get(backupId)?.has(keyOf(Buffer.from(name, 'latin1'))) ?? false;
  }
}

const keyOf = (name: Buffer) => hash('sha256', name, 'buffer').toString('latin1', 0, 12);
