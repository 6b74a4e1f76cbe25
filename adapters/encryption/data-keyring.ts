import {
  type EncryptedDataKey,
  KeyringNode,
  type NodeDecryptionMaterial,
  type NodeEncryptionMaterial,
} from '@aws-crypto/material-management-node';
import { RawAesKeyringNode, RawAesWrappingSuiteIdentifier } from '@aws-crypto/raw-aes-keyring-node';
import { failure } from '../../core/errors';
import type { UnwrappedDataKeys } from './data-keys';

/** What messages call the provider of their keys; whoever opens one by hand needs it too (docs/restore-by-hand.md). */
const KEY_NAMESPACE = 'drctl';

/** Where the encryption context names the data key, too. */
export const KEY_IN_CONTEXT = 'drctl-key';

/**
 * The AWS Encryption SDK's Raw AES keyring with the data keys of the repository: each message has a key of its own, wrapped by
 * the active data key; to open one, the data key that it names is unwrapped.
 */
export class DataKeyring extends KeyringNode {
  readonly #keys: UnwrappedDataKeys;

  constructor(keys: UnwrappedDataKeys) {
    super();
    this.#keys = keys;
  }

  // oxlint-disable-next-line no-underscore-dangle -- the SDK's name
  async _onEncrypt(material: NodeEncryptionMaterial): Promise<NodeEncryptionMaterial> {
    const { activeKeyId } = this.#keys;
    if (activeKeyId === null)
      throw failure('ConfigInvalid', 'the config names no data key to encrypt with (encryption.key)');
    return (await this.#keyring(activeKeyId)).onEncrypt(material);
  }

  // oxlint-disable-next-line no-underscore-dangle -- the SDK's name
  async _onDecrypt(material: NodeDecryptionMaterial, wrapped: EncryptedDataKey[]): Promise<NodeDecryptionMaterial> {
    // "drctl", and behind the id what AES-GCM needs: https://docs.aws.amazon.com/encryption-sdk/latest/developer-guide/message-format.html
    const [only] = wrapped.filter(({ providerId }) => providerId === KEY_NAMESPACE);
    const keyId = /^[0-9a-f]{32}/.exec(only?.providerInfo ?? '')?.[0];
    if (keyId === undefined) throw new Error('it names no data key of drctl');
    // The name stands twice in a header: one that was damaged must not be taken for a key that is lost.
    const { [KEY_IN_CONTEXT]: noted = keyId } = material.encryptionContext;
    if (noted !== keyId) throw new Error(`it names two data keys, ${keyId} and ${noted}`);
    return (await this.#keyring(keyId)).onDecrypt(material, wrapped);
  }

  async #keyring(keyId: string): Promise<RawAesKeyringNode> {
    const dataKey = await this.#keys.dataKey(keyId);
    return new RawAesKeyringNode({
      keyNamespace: KEY_NAMESPACE,
      keyName: keyId,
      unencryptedMasterKey: new Uint8Array(dataKey.export()),
      wrappingSuite: RawAesWrappingSuiteIdentifier.AES256_GCM_IV12_TAG16_NO_PADDING,
      utf8Sorting: true,
    });
  }
}
