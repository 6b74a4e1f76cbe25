import type { DataKeyRecord, DataKeys, KeyRecipient, RotationPlan, StoredDataKey } from '../core/data-keys';
import { failure } from '../core/errors';
import type { Session } from './session';
import { shortTime, tableLines } from './table';

/** Throws NotFound where the config has no `encryption`. */
export async function dataKeysOf(session: Session): Promise<DataKeys> {
  const { dataKeys } = await session.open();
  if (dataKeys) return dataKeys;
  throw failure('NotFound', `${session.config.file} has no encryption: nobody is named who could have a data key`, {
    next: 'Name recipients under `encryption.recipients`, as docs/encryption.md shows.',
  });
}

/** The data keys that are named, or all. Throws NotFound for one that no repository has. */
export async function storedKeys(keys: DataKeys, named: readonly string[]): Promise<StoredDataKey[]> {
  const all = await keys.list();
  const unknown = named.find((keyId) => !all.some((each) => each.keyId === keyId));
  if (unknown === undefined) return named.length === 0 ? all : all.filter(({ keyId }) => named.includes(keyId));
  const there = all.length === 0 ? 'there is none' : `there are: ${all.map(({ keyId }) => keyId).join(', ')}`;
  throw failure('NotFound', `there is no data key "${unknown}" in ${keys.repositories.join(', ')}; ${there}`);
}

/**
 * Asks on the terminal; elsewhere only `--yes` is a yes. Throws UsageInvalid there, because the plan was shown and nothing
 * must happen that nobody agreed to.
 */
export async function agreed({ io }: Session, question: string, yes: boolean): Promise<boolean> {
  if (yes) return true;
  if (!io.isTerminal) {
    throw failure('UsageInvalid', 'this changes who can read the backups: say --yes where nobody can be asked');
  }
  const answer = (await io.ask(`${question} [yes/no] `))?.trim().toLowerCase();
  return answer === 'y' || answer === 'yes';
}

export function recipientLines(recipients: readonly KeyRecipient[]): string[] {
  return tableLines(
    ['recipient', 'kind', 'key'],
    recipients.map(({ name, kind, identity }) => [name, kind, identity]),
  ).map((line) => `  ${line}`);
}

/** What a person should think of before it is too late. */
export function warningLines(recipients: readonly KeyRecipient[]): string[] {
  return recipients.some(({ kind }) => kind === 'break-glass')
    ? []
    : [
        'Warning: no recipient is a break-glass key. If those above are lost, nothing that is encrypted can be restored by anybody.',
      ];
}

export function createdLines({ keyId }: DataKeyRecord, file: string, wasActive: string | null): string[] {
  return [
    `The data key ${keyId} was made and stored. Nothing is encrypted with it before ${file} says so:`,
    '',
    '  encryption:',
    `    key: ${keyId}${wasActive === null ? '' : `   # instead of ${wasActive}, which stays: older backups need it`}`,
  ];
}

export function keyLines(keys: readonly StoredDataKey[], { activeKeyId, repositories }: DataKeys): string[] {
  if (keys.length === 0) {
    return [`There is no data key in ${repositories.join(', ')} yet. Make one with: drctl keys create`];
  }
  const rows = keys.map(({ keyId, record, stored }) => [
    keyId,
    keyId === activeKeyId ? 'encrypts' : 'reads',
    shortTime(record?.createdAt),
    String(record?.revision ?? '-'),
    record?.recipients.map(({ name, kind }) => `${name} (${kind})`).join(', ') ?? '-',
    stored.map(({ repository, revision }) => `${repository}${placeState(revision, record)}`).join(', '),
  ]);
  const problems = keys.flatMap(({ stored }) => stored.flatMap((each) => each.problems));
  const lost = activeKeyId !== null && !keys.some(({ keyId }) => keyId === activeKeyId);
  return [
    ...tableLines(['data key', 'use', 'created', 'revision', 'recipients', 'stored in'], rows),
    ...(lost
      ? ['', `The config encrypts with ${activeKeyId}, which is in no repository: no backup can be taken.`]
      : []),
    ...(activeKeyId === null
      ? ['', 'The config names none of them (encryption.key): new backups and log are stored plain.']
      : []),
    ...(problems.length > 0 ? ['', ...problems] : []),
  ];
}

function placeState(revision: number | null, record: DataKeyRecord | null): string {
  if (revision === null) return ' (missing)';
  return revision === record?.revision ? '' : ` (revision ${revision})`;
}

export function rotationLines(plans: readonly RotationPlan[]): string[] {
  const who = ({ name, kind, identity }: KeyRecipient) => `${name} (${kind}, ${identity})`;
  return plans.flatMap((plan) => [
    `data key ${plan.keyId}, revision ${plan.revision}`,
    ...plan.added.map((each) => `  + ${who(each)}`),
    ...plan.removed.map((each) => `  - ${who(each)}`),
    ...plan.missingIn.map((repository) => `  stored in ${repository}, where it is missing or older`),
    ...(changesNothing(plan) ? ['  nothing to change'] : []),
  ]);
}

export function changesNothing({ added, removed, missingIn }: RotationPlan): boolean {
  return added.length + removed.length + missingIn.length === 0;
}
