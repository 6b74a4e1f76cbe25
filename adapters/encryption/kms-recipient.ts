import { DecryptCommand, EncryptCommand, KMSClient } from '@aws-sdk/client-kms';
import { failure, findFailure } from '../../core/errors';
import { AwsProblem, callAws } from '../aws/aws-errors';
import { awsClientOptions } from '../aws/client-options';
import { CannotUnwrap } from './cannot-unwrap';
import type { KeyPurpose, Recipient } from './recipient';
import type { KmsSettings } from './settings';

/** Needs `kms:Encrypt` where keys are made, and `kms:Decrypt` wherever backups are taken or restored. */
export function createKmsRecipient(name: string, settings: KmsSettings): Recipient {
  const { keyId, timeoutSeconds } = settings;
  let client: KMSClient | null = null;
  const opened = () => (client ??= new KMSClient(awsClientOptions(settings, `encryption.recipients.${name}`)));
  /** Ends by its deadline. */
  const uncancelled = () => new AbortController().signal;

  return {
    describe: () => ({ name, kind: 'kms', identity: keyId }),

    async wrap(dataKey, purpose) {
      const command = new EncryptCommand({ KeyId: keyId, Plaintext: dataKey, EncryptionContext: contextOf(purpose) });
      try {
        const answer = await callAws({ timeoutSeconds }, uncancelled(), (options) => opened().send(command, options));
        return { algorithm: 'AWS-KMS', wrappedKey: Buffer.from(answer.CiphertextBlob!).toString('base64') };
      } catch (cause) {
        if (!(cause instanceof AwsProblem)) throw cause;
        const code = cause.kind === 'busy' ? 'TargetUnreachable' : 'AccessDenied';
        throw failure(code, `KMS does not wrap a data key with ${keyId}: ${cause.message}`, { cause });
      }
    },

    async unwrap({ wrappedKey }, purpose) {
      const CiphertextBlob = Buffer.from(wrappedKey, 'base64');
      const command = new DecryptCommand({ KeyId: keyId, CiphertextBlob, EncryptionContext: contextOf(purpose) });
      try {
        const answer = await callAws({ timeoutSeconds }, uncancelled(), (options) => opened().send(command, options));
        return Buffer.from(answer.Plaintext!);
      } catch (cause) {
        if (!(cause instanceof AwsProblem)) throw cause;
        // Our own word: its credentials are not on this machine, and no KMS was asked.
        const own = findFailure(cause.cause);
        if (own) throw new CannotUnwrap(own.message, { cause });
        const passing = cause.kind === 'busy';
        throw new CannotUnwrap(`KMS ${passing ? 'does not answer' : 'refuses'}: ${cause.message}`, { passing, cause });
      }
    },
  };
}

/** A policy can ask for it (`kms:EncryptionContext:…`), and CloudTrail shows it. */
function contextOf({ application, keyId }: KeyPurpose): Record<string, string> {
  return { 'drctl-application': application, 'drctl-key': keyId };
}
