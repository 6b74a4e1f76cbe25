import { createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import type { DataKeyRecord, DataKeys, KeyRecipient, RotationPlan, WrappedKey } from '../../core/data-keys';
import { failure, reasonOf } from '../../core/errors';
import type { Repository } from '../../core/repository';
import { CannotUnwrap } from './cannot-unwrap';
import { createKeyRecords, listDataKeys, readRevisions } from './key-records';
import { createKmsRecipient } from './kms-recipient';
import type { Recipient } from './recipient';
import { createRsaRecipient } from './rsa-recipient';
import type { RecipientSettings } from './settings';

const DATA_KEY_BYTES = 32;

export interface DataKeysOptions {
  readonly application: string;
  /** The first one decides when two people change a key at the same moment; a key that one of them lost is read from the next. */
  readonly repositories: readonly Repository[];
  readonly activeKeyId: string | null;
  /** In the order in which they are tried. */
  readonly recipients: Readonly<Record<string, RecipientSettings>>;
}

/** With the keys themselves, which never leave the process. */
export interface UnwrappedDataKeys extends DataKeys {
  /** Unwrapped once by a process and kept in its memory. Throws as `DataKeys` says. */
  dataKey(keyId: string): Promise<KeyObject>;
}

export function createDataKeys(options: DataKeysOptions): UnwrappedDataKeys {
  const { application, repositories, activeKeyId } = options;
  const recipients = Object.entries(options.recipients).map(([name, settings]) => createRecipient(name, settings));
  const places = repositories.map(createKeyRecords);
  const unwrapped = new Map<string, Promise<KeyObject>>();

  async function wrapForAll(dataKey: Buffer, keyId: string): Promise<WrappedKey[]> {
    const purpose = { application, keyId };
    return Promise.all(
      recipients.map(async (each) => ({ ...each.describe(), ...(await each.wrap(dataKey, purpose)) })),
    );
  }

  async function unwrapFor(recipient: Recipient, records: readonly DataKeyRecord[], keyId: string): Promise<Buffer> {
    const { identity } = describedOrSkipped(recipient);
    // Of the newest revision that can be read: an older one may name somebody who was removed.
    const wrapped = records[0]?.recipients.find((each) => each.identity === identity);
    if (!wrapped) throw new CannotUnwrap(`the data key is not wrapped for it (${identity})`);
    const dataKey = await recipient.unwrap(wrapped, { application, keyId });
    if (dataKey.length === DATA_KEY_BYTES && idOf(dataKey) === keyId) return dataKey;
    throw new CannotUnwrap('what is stored for it is another key');
  }

  async function unwrap(keyId: string): Promise<Buffer> {
    const records = await readRevisions(places, keyId);
    const refusals: [name: string, why: CannotUnwrap][] = [];
    for (const [index, recipient] of recipients.entries()) {
      try {
        return await unwrapFor(recipient, records, keyId);
      } catch (error) {
        if (!(error instanceof CannotUnwrap)) throw error;
        refusals.push([Object.keys(options.recipients)[index] as string, error]);
      }
    }
    throw nobodyUnwraps(keyId, records, refusals);
  }

  async function storeEverywhere(record: DataKeyRecord): Promise<DataKeyRecord> {
    for (const place of places) await place.store(record);
    return record;
  }

  return {
    activeKeyId,
    repositories: repositories.map(({ name }) => name),
    recipients: () => recipients.map((each) => each.describe()),
    list: () => listDataKeys(places),

    dataKey(keyId) {
      const known = unwrapped.get(keyId);
      if (known) return known;
      const opening = unwrap(keyId).then(
        (bytes) => createSecretKey(bytes),
        (error: unknown) => {
          // What was refused may be allowed the next time.
          unwrapped.delete(keyId);
          throw error;
        },
      );
      unwrapped.set(keyId, opening);
      return opening;
    },

    async create(by, at) {
      const dataKey = randomBytes(DATA_KEY_BYTES);
      const keyId = idOf(dataKey);
      const now = at.toISOString();
      const wrapped = await wrapForAll(dataKey, keyId);
      const written = { revision: 1, writtenAt: now, writtenBy: by, recipients: wrapped };
      return storeEverywhere({ formatVersion: 1, application, keyId, createdAt: now, ...written });
    },

    planRotation({ keyId, record, stored }) {
      const wanted = recipients.map((each) => each.describe());
      const held: readonly KeyRecipient[] = record?.recipients ?? [];
      const without = (some: readonly KeyRecipient[], others: readonly KeyRecipient[]) =>
        some
          .filter(({ identity, name }) => !others.some((each) => each.identity === identity && each.name === name))
          .map(({ name, kind, identity }) => ({ name, kind, identity }));
      const revision = record?.revision ?? 0;
      return {
        keyId,
        revision,
        added: without(wanted, held),
        removed: without(held, wanted),
        missingIn: stored.filter((each) => each.revision !== revision).map((each) => each.repository),
      };
    },

    async rotate(plan: RotationPlan, by, at) {
      const newest = (await listDataKeys(places)).find(({ keyId }) => keyId === plan.keyId)?.record;
      if (!newest || newest.revision !== plan.revision) throw changedMeanwhile(plan.keyId);
      if (plan.added.length === 0 && plan.removed.length === 0) return storeEverywhere(newest);
      const wrapped = await wrapForAll(await unwrap(plan.keyId), plan.keyId);
      const written = { revision: newest.revision + 1, writtenAt: at.toISOString(), writtenBy: by };
      return storeEverywhere({ ...newest, ...written, recipients: wrapped });
    },

    async check(keyId) {
      const records = await readRevisions(places, keyId);
      const settings = Object.entries(options.recipients);
      return Promise.all(
        recipients.map(async (recipient, index) => {
          const [name, { kind }] = settings[index] as (typeof settings)[number];
          const problem = await unwrapFor(recipient, records, keyId).then(() => null, reasonOf);
          return { recipient: name, kind, problem };
        }),
      );
    },
  };
}

function createRecipient(name: string, settings: RecipientSettings): Recipient {
  return settings.kind === 'kms' ? createKmsRecipient(name, settings) : createRsaRecipient(name, settings);
}

/** One whose key is not on this machine must not keep the others from their turn. */
function describedOrSkipped(recipient: Recipient): KeyRecipient {
  try {
    return recipient.describe();
  } catch (error) {
    throw new CannotUnwrap(reasonOf(error), { cause: error });
  }
}

/**
 * What a data key is called: made of the key itself, by HKDF (RFC 5869). Whoever can write to a repository could else put a key
 * of his own in the place of ours, wrapped for our public keys, and read what is encrypted from then on.
 */
function idOf(dataKey: Uint8Array): string {
  return Buffer.from(hkdfSync('sha256', dataKey, '', 'drctl data key id', 16)).toString('hex');
}

function nobodyUnwraps(
  keyId: string,
  records: readonly DataKeyRecord[],
  refusals: readonly (readonly [name: string, why: CannotUnwrap])[],
): Error {
  const reasons = refusals.map(([name, why]) => `${name}: ${why.message}`).join('; ');
  const holders = records[0]?.recipients.map(({ name, kind }) => `${name} (${kind})`).join(', ');
  const message = `no recipient of the config unwraps the data key ${keyId}: ${reasons}. It is wrapped for ${holders}`;
  const passing = refusals.some(([, why]) => why.passing);
  return failure(passing ? 'TargetUnreachable' : 'KeyUnavailable', message, {
    context: { keyId },
    ...(passing
      ? { next: 'Check that KMS can be reached from here; a step that is still tried goes on by itself.' }
      : {}),
  });
}

function changedMeanwhile(keyId: string): Error {
  return failure('LockHeld', `the data key ${keyId} was changed by somebody else since it was looked at`, {
    next: 'Look again with `drctl keys list`.',
  });
}
