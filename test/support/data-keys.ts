import { generateKeyPairSync } from 'node:crypto';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { createDataKeys, type UnwrappedDataKeys } from '../../adapters/encryption/data-keys';
import type { ObjectCipher } from '../../adapters/encryption/encrypted-object';
import { createObjectCipher } from '../../adapters/encryption/object-cipher';
import type { RecipientSettings } from '../../adapters/encryption/settings';
import type { Repository } from '../../core/repository';
import { Secret } from '../../core/secret';

export interface TestKeyPair {
  readonly privateKey: Secret;
  /** PEM. */
  readonly publicKey: string;
}

/** 3072 bits: the least that is accepted, and the fastest to make. */
export function rsaKeyPair(modulusLength = 3072): TestKeyPair {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength });
  return {
    privateKey: new Secret(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
}

export const keyFileOf = ({ privateKey }: TestKeyPair): RecipientSettings => ({ kind: 'key-file', privateKey });

/** A file of its own in the temporary folder, as the config names it. */
export function breakGlassOf({ publicKey, privateKey }: TestKeyPair, opened = false): RecipientSettings {
  const file = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'drctl-public-')), 'public.pem');
  fs.writeFileSync(file, publicKey);
  return { kind: 'break-glass', publicKey: file, ...(opened ? { privateKey } : {}) };
}

export interface TestEncryption {
  readonly keys: UnwrappedDataKeys;
  readonly cipher: ObjectCipher;
}

/** As a worker of the application `shop` has it after it was started with that config. */
export function openEncryption(
  repositories: readonly Repository[],
  recipients: Readonly<Record<string, RecipientSettings>>,
  activeKeyId: string | null,
): TestEncryption {
  const keys = createDataKeys({ application: 'shop', repositories, recipients, activeKeyId });
  return { keys, cipher: createObjectCipher(keys, 'shop') };
}

/** A new data key in the repository, and encryption with it. */
export async function startEncryption(
  repositories: readonly Repository[],
  recipients: Readonly<Record<string, RecipientSettings>>,
): Promise<TestEncryption & { readonly keyId: string }> {
  const { keyId } = await openEncryption(repositories, recipients, null).keys.create('tester', new Date());
  return { keyId, ...openEncryption(repositories, recipients, keyId) };
}
