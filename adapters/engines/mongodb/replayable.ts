import { compactDocuments, documentsIn, fieldNamed, fieldsOf, stringOf, valueOf } from './bson-bytes';
import { commandName, type OplogEntry } from './oplog';

/** Commands (DDL) that a replay knows how to repeat. A server that is newer than this may write others. */
const REPLAYABLE = [
  'create',
  'drop',
  'dropDatabase',
  'renameCollection',
  'createIndexes',
  'startIndexBuild',
  'commitIndexBuild',
  'abortIndexBuild',
  'dropIndexes',
  'deleteIndexes',
  'dropIndex',
  'deleteIndex',
  'collMod',
  'emptycapped',
  'dbCheck',
] as const;

export type ReplayableCommand = (typeof REPLAYABLE)[number];

/** These end or hold operations, which are looked at by themselves. */
const OF_TRANSACTIONS = ['applyOps', 'commitTransaction', 'abortTransaction'];

export function isReplayable(command: string): command is ReplayableCommand {
  return (REPLAYABLE as readonly string[]).includes(command);
}

/** What belongs to the source server itself (sessions, signing keys, its version), not to its data; users and roles do. */
export function isForeign(namespace: string): boolean {
  if (namespace.startsWith('admin.system.')) return !['admin.system.users', 'admin.system.roles'].includes(namespace);
  return namespace.startsWith('config.') || namespace.startsWith('local.') || namespace === '';
}

/** The command in an entry that no replay could repeat, also within a transaction; null for any other entry. */
export function unreplayableCommand(entry: OplogEntry): string | null {
  const name = commandName(entry);
  if (name === null || isForeign(entry.namespace)) return null;
  if (!OF_TRANSACTIONS.includes(name)) return isReplayable(name) ? null : name;
  return name === 'applyOps' ? nestedUnreplayable(entry) : null;
}

function nestedUnreplayable(entry: OplogEntry): string | null {
  const o = fieldNamed(entry.fields, 'o');
  const operations = o && fieldNamed(fieldsOf(entry.bytes, o.valueAt), 'applyOps');
  if (!operations) return null;
  // A copy, because compaction moves bytes within the entry.
  const array = Buffer.from(valueOf(entry.bytes, operations));
  for (const operation of documentsIn(compactDocuments(array, 0).documents)) {
    const fields = fieldsOf(operation);
    const [op, ns, inner] = ['op', 'ns', 'o'].map((name) => fieldNamed(fields, name));
    if (!op || !ns || !inner || stringOf(operation, op) !== 'c' || isForeign(stringOf(operation, ns))) continue;
    const name = fieldsOf(operation, inner.valueAt)[0]?.name ?? '';
    if (!isReplayable(name)) return name;
  }
  return null;
}
