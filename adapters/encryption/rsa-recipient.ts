import {
  constants,
  createHash,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  publicEncrypt,
} from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { KeyRecipient } from '../../core/data-keys';
import { failure, reasonOf } from '../../core/errors';
import { CannotUnwrap } from './cannot-unwrap';
import type { Recipient } from './recipient';
import type { RsaSettings } from './settings';

/**
 * RSA-OAEP with SHA-256 (RFC 8017 §7.1), because a person can undo it with `openssl pkeyutl` alone (docs/restore-by-hand.md): a
 * scheme over X25519 ends in an AEAD, which the openssl program does not offer.
 */
const PADDING = { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' } as const;

/** 128 bits of security (NIST SP 800-57 part 1, table 2): backups are kept for years. */
const LEAST_BITS = 3072;

export function createRsaRecipient(name: string, settings: RsaSettings): Recipient {
  const { kind, publicKey, privateKey, passphrase } = settings;
  const field = `encryption.recipients.${name}`;

  function publicPart(): KeyObject {
    if (publicKey !== undefined) return checked(name, publicKey, () => createPublicKey(readFileSync(publicKey)));
    return createPublicKey(privatePart());
  }

  function privatePart(): KeyObject {
    if (!privateKey) throw new CannotUnwrap(`its private key is not in the config (${field}.privateKey)`);
    // Outside of `checked`: a secret that cannot be read says so itself.
    const key = privateKey.reveal();
    const secret = passphrase?.reveal();
    const open = () => createPrivateKey(secret === undefined ? { key } : { key, passphrase: secret });
    return checked(name, `${field}.privateKey`, open);
  }

  function describe(): KeyRecipient {
    return { name, kind, identity: `sha256:${digestOf(publicPart())}` };
  }

  return {
    describe,

    async wrap(dataKey) {
      const wrappedKey = publicEncrypt({ key: publicPart(), ...PADDING }, dataKey).toString('base64');
      return { algorithm: 'RSA-OAEP-SHA256', wrappedKey };
    },

    async unwrap({ wrappedKey, identity }) {
      let key: KeyObject;
      try {
        key = privatePart();
      } catch (error) {
        throw error instanceof CannotUnwrap ? error : new CannotUnwrap(reasonOf(error), { cause: error });
      }
      const found = `sha256:${digestOf(createPublicKey(key))}`;
      // Only where both parts are in the config, and are not of one pair.
      if (found !== identity) throw new CannotUnwrap(`its private key belongs to ${found}, not to ${identity}`);
      try {
        return privateDecrypt({ key, ...PADDING }, Buffer.from(wrappedKey, 'base64'));
      } catch (cause) {
        throw new CannotUnwrap(
          'its key does not open what is stored for it: that is damaged, or was wrapped otherwise',
          {
            cause,
          },
        );
      }
    },
  };
}

/** OpenSSL's words about a key that cannot be read hold nothing of it, and nothing that helps; the place does. */
function checked(name: string, where: string, open: () => KeyObject): KeyObject {
  const invalid = (why: string, cause?: unknown) =>
    failure('ConfigInvalid', `recipient "${name}" of the data keys: ${where} ${why}`, {
      next: 'Make a key pair as docs/encryption.md shows, and name its files in the config.',
      cause,
    });
  let key: KeyObject;
  try {
    key = open();
  } catch (cause) {
    const missing = (cause as NodeJS.ErrnoException).code === 'ENOENT';
    throw invalid(missing ? 'is not there' : 'is not a key in PEM, or its passphrase is wrong or missing', cause);
  }
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType !== 'rsa') throw invalid(`is a key of the kind ${key.asymmetricKeyType}, not rsa`);
  if (bits < LEAST_BITS) throw invalid(`has ${bits} bits; at least ${LEAST_BITS} are needed`);
  return key;
}

function digestOf(key: KeyObject): string {
  return createHash('sha256')
    .update(key.export({ type: 'spki', format: 'der' }))
    .digest('hex');
}
