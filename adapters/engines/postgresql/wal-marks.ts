import type { WalRecord } from './wal-records';

/** A record that a person can aim at. */
export interface WalMark {
  readonly record: WalRecord;
  readonly what: 'committed' | 'rolled back' | 'restore point';
  /** By the source's clock, to the microsecond. */
  readonly time: string;
  /** The transaction that ended; for a prepared one every number that may be its id. Empty for a restore point. */
  readonly xids: readonly number[];
  readonly name: string | null;
}

/** rmgrlist.h */
const XLOG = 0;
const TRANSACTION = 1;
const STANDBY = 8;
/** pg_control.h */
const RESTORE_POINT = 0x70;
/** xact.h, with XLOG_XACT_OPMASK. */
const OPERATION_MASK = 0x70;
const COMMIT = 0x00;
const ABORT = 0x20;
const COMMIT_PREPARED = 0x30;
const ABORT_PREPARED = 0x40;
/** standbydefs.h: what runs, logged by the background writer every 15 s and by each checkpoint. */
const RUNNING_TRANSACTIONS = 0x10;
const NEXT_XID_AT = 12;

/** TimestampTz counts microseconds from here. */
const POSTGRES_EPOCH_MILLISECONDS = Date.UTC(2000, 0, 1);

/** Null for records that no target names. */
export function markOf(record: WalRecord): WalMark | null {
  const { resourceManager, info, data, xid } = record;
  if (data.length < 8) return null;
  if (resourceManager === XLOG && (info & 0xf0) === RESTORE_POINT) {
    const end = data.indexOf(0, 8);
    const name = data.toString('utf8', 8, end === -1 ? data.length : end);
    return { record, what: 'restore point', time: timeOf(data), xids: [], name };
  }
  if (resourceManager !== TRANSACTION) return null;
  switch (info & OPERATION_MASK) {
    case COMMIT:
      return { record, what: 'committed', time: timeOf(data), xids: [xid], name: null };
    case ABORT:
      return { record, what: 'rolled back', time: timeOf(data), xids: [xid], name: null };
    case COMMIT_PREPARED:
      return { record, what: 'committed', time: timeOf(data), xids: numbersOf(data), name: null };
    case ABORT_PREPARED:
      return { record, what: 'rolled back', time: timeOf(data), xids: numbersOf(data), name: null };
    default:
      return null;
  }
}

/** The id that the next transaction gets, where a record says it: none that is as great was begun before it. */
export function nextXidOf({ resourceManager, info, data }: WalRecord): number | null {
  if (resourceManager !== STANDBY || (info & 0xf0) !== RUNNING_TRANSACTIONS || data.length < NEXT_XID_AT + 4)
    return null;
  return data.readUInt32LE(NEXT_XID_AT);
}

/**
 * The id of a prepared transaction stands behind lists whose layout differs between versions: any aligned number may be it.
 * Only a plan rests on this; the server itself compares the right one.
 */
function numbersOf(data: Buffer): number[] {
  const found: number[] = [];
  for (let at = 8; at + 4 <= data.length; at += 4) found.push(data.readUInt32LE(at));
  return found;
}

function timeOf(data: Buffer): string {
  const microseconds = data.readBigInt64LE(0);
  const milliseconds = microseconds / 1000n;
  const rest = Number(microseconds % 1000n);
  const iso = new Date(POSTGRES_EPOCH_MILLISECONDS + Number(milliseconds)).toISOString();
  return rest === 0 ? iso : iso.replace('Z', `${String(rest).padStart(3, '0')}Z`);
}
