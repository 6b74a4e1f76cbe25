import { failure } from '../../core/errors';
import { layout } from '../../core/layout';
import type { ObjectCipher } from '../encryption/encrypted-object';
import type { VolumeCodec, VolumeEncryption } from './volume-writer';

const NAME = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,180}$/;

/** Refuses a name that could leave its folder, hide in it, or mean something in a key. */
export function checkVolumeName(name: string, taken: ReadonlySet<string>): void {
  if (!NAME.test(name)) {
    throw failure(
      'UsageInvalid',
      `"${name}" cannot name a volume: letters, digits, ".", "_" and "-" only, no "." first`,
    );
  }
  if (taken.has(name)) throw failure('UsageInvalid', `volume "${name}" was opened twice in one dump`);
}

/**
 * `vol-00001.tar` → `vol-00001.tar.zst`: the name that a person's own tools understand. What is encrypted ends as the AWS
 * Encryption CLI would have it.
 */
export function storedName(name: string, codec: VolumeCodec['codec'], encryptionKeyId: string | null): string {
  return `${name}${codec === 'zstd' ? '.zst' : ''}${encryptionKeyId === null ? '' : '.encrypted'}`;
}

/** For the volume that is bound to that name (see `boundName`); null where new objects stay plain. */
export function encryptionOf(cipher: ObjectCipher | null, name: string): VolumeEncryption | null {
  if (cipher === null || cipher.keyId === null) return null;
  return { keyId: cipher.keyId, start: (emit) => cipher.encryptor(name, emit) };
}

/** Beside the manifest, in the attempt's own folder: a dump believed dead cannot replace what its successor stored. */
export function earlyKey(store: string, backupId: string, attempt: number, name: string): string {
  return layout.early(store, backupId, `attempt-${attempt}/${name}`);
}
