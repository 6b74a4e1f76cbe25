import { failure } from '../../../core/errors';
import type { RecoveryTarget } from '../../../core/recovery';
import { parseLsn } from './lsn';

/** As PostgreSQL itself has it (`recovery_target_inclusive`): what lies exactly at the target belongs to the state. */
export function isInclusive(target: RecoveryTarget): boolean {
  return target.inclusive ?? true;
}

/** Throws UsageInvalid for what says nothing, or what nobody can mean. */
export function requireSense(store: string, target: RecoveryTarget): void {
  const { kind, inclusive } = target;
  const exact = kind === 'time' || kind === 'position' || kind === 'transaction';
  if (inclusive !== undefined && !exact) {
    throw failure(
      'UsageInvalid',
      `${store}: ${targetText(target)} is one state: there is nothing to include or exclude`,
      {
        next: 'Leave --inclusive and --exclusive out, or name a time, a position or a transaction.',
      },
    );
  }
  if (kind === 'position') parseLsn(target.text);
  if (kind === 'transaction') xidOf(target.id);
  if (kind === 'time' && Number.isNaN(Date.parse(target.time))) {
    throw failure('UsageInvalid', `"${target.time}" is not a time: write it as 2026-11-22T13:05:03.120Z`);
  }
  // xlog_internal.h MAXFNAMELEN: the server keeps 63 bytes of a restore point's name and would look for the others in vain.
  if (kind === 'name' && (target.name === '' || Buffer.byteLength(target.name) > 63)) {
    throw failure('UsageInvalid', `"${target.name}" is no name of a restore point: they have 1 to 63 bytes`);
  }
}

/** `pg_current_xact_id()` counts in 64 bits, the log (and `xmin`, and `pg_waldump`) in 32: both are understood. */
export function xidOf(text: string): number {
  const wide = /^\d{1,20}$/.test(text) ? BigInt(text) : 0n;
  const xid = Number(wide & 0xffff_ffffn);
  // transam.h: smaller ones are no transactions.
  if (xid >= 3 && wide < 1n << 64n) return xid;
  throw failure('UsageInvalid', `"${text}" is not the id of a transaction`, {
    next: 'Write it as pg_current_xact_id() answered it, or as pg_waldump shows it: a number from 3 on.',
  });
}

export function targetText(target: RecoveryTarget): string {
  switch (target.kind) {
    case 'time':
      return target.time;
    case 'position':
      return target.text;
    case 'transaction':
      return `transaction ${target.id}`;
    case 'name':
      return `the restore point "${target.name}"`;
    case 'backup':
      return target.backupId;
    default:
      return 'the latest state';
  }
}
