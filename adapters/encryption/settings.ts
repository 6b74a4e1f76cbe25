import { isAbsolute } from 'node:path';
import { z } from 'zod';
import { awsAccessFields } from '../aws/settings';
import { secretField } from '../settings-fields';

const publicKey = z
  .string()
  .refine(isAbsolute, 'is not a path: write an absolute one, or one that starts with ./ and is relative to this file')
  .meta({ description: 'Path of a public key in PEM, as `openssl pkey -pubout` writes it' });

/** Of a private key in PEM that is kept encrypted itself. */
const passphrase = secretField.optional();

const keyFile = z
  .strictObject({ kind: z.literal('key-file'), privateKey: secretField, publicKey: publicKey.optional(), passphrase })
  .meta({ description: 'An RSA key that workers have as a secret' });

const breakGlass = z
  .strictObject({ kind: z.literal('break-glass'), publicKey, privateKey: secretField.optional(), passphrase })
  .meta({ description: 'An RSA key that is kept offline; its private part is named only on the day it is needed' });

const kms = z
  .strictObject({
    kind: z.literal('kms'),
    /** The ARN tells account and region too, for whoever reads `keys/<keyId>.json` years later. */
    keyId: z.string().min(1).meta({ description: 'ARN of a symmetric key of AWS KMS; its id or alias works as well' }),
    ...awsAccessFields,
  })
  .meta({ description: 'A key of AWS KMS' });

export const settings = z.discriminatedUnion('kind', [keyFile, breakGlass, kms]);

export const DATA_KEY_ID = /^[0-9a-f]{32}$/;

export const dataKeyId = z
  .string()
  .regex(DATA_KEY_ID, 'is not the id of a data key: `drctl keys create` makes one, `drctl keys list` shows them');

export type RecipientSettings = z.output<typeof settings>;
export type RsaSettings = z.output<typeof keyFile> | z.output<typeof breakGlass>;
export type KmsSettings = z.output<typeof kms>;
