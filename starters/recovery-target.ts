import { failure } from '../core/errors';
import { isBackupId } from '../core/layout';
import type { RecoveryTarget } from '../core/recovery';

const UNIT_SECONDS: Record<string, number> = { second: 1, minute: 60, hour: 3_600, day: 86_400 };

export interface ReadTarget {
  readonly target: RecoveryTarget;
  /** What was understood, where what was typed leaves a question. */
  readonly note: string | null;
}

/**
 * Reads what a person types after `--to`: `latest`, a time (ISO 8601 with zone; without one it is local and the note says
 * so; `10 minutes ago`), a backup id, `name:<restore point>`, `xid:<transaction id>`, or a position in the engine's own
 * notation (`0/3000148`, `1763800000:3`; `position:` may stand before it). Throws UsageInvalid.
 */
export function readTarget(text: string, now: Date): ReadTarget {
  const typed = text.trim();
  if (typed === 'latest') return { target: { kind: 'latest' }, note: null };
  if (isBackupId(typed)) return { target: { kind: 'backup', backupId: typed }, note: null };
  if (typed.startsWith('name:')) return { target: { kind: 'name', name: typed.slice(5) }, note: null };
  const transaction = /^(?:xid|transaction):\s*(?<id>.*)$/.exec(typed)?.groups?.['id'];
  if (transaction !== undefined) return { target: { kind: 'transaction', id: transaction }, note: null };
  const position = /^(?:position:)?(?<value>[0-9A-Fa-f]+\/[0-9A-Fa-f]+|\d{9,}:\d+|(?<=position:).+)$/.exec(typed)
    ?.groups?.['value'];
  if (position) return { target: { kind: 'position', text: position }, note: null };
  const { time, note } = readTime(typed, now);
  return { target: { kind: 'time', time }, note };
}

/** How a target is meant, of the options beside `--to`. Throws UsageInvalid where they contradict each other or the target. */
export function withChoice(
  target: RecoveryTarget,
  options: { readonly inclusive?: boolean; readonly exclusive?: boolean; readonly timeline?: string },
): RecoveryTarget {
  const { inclusive, exclusive, timeline } = options;
  if (inclusive && exclusive)
    throw failure('UsageInvalid', '--inclusive and --exclusive say the opposite of each other');
  if ((inclusive || exclusive) && !['time', 'position', 'transaction'].includes(target.kind)) {
    throw failure('UsageInvalid', 'only a time, a position or a transaction can be taken in or left out', {
      next: 'Leave --inclusive and --exclusive out: latest, a backup and a restore point are one state each.',
    });
  }
  if (timeline !== undefined && !/^[1-9]\d{0,9}$/.test(timeline)) {
    throw failure('UsageInvalid', `--timeline is "${timeline}"; write its number`, {
      next: '`drctl log status` shows the timelines that are archived.',
    });
  }
  return {
    ...target,
    ...(inclusive || exclusive ? { inclusive: inclusive ?? false } : {}),
    ...(timeline === undefined ? {} : { timeline: Number(timeline) }),
  };
}

/** Reads a time as people write it; answers ISO 8601 in UTC. Throws UsageInvalid that shows how to write one. */
function readTime(text: string, now: Date): { readonly time: string; readonly note: string | null } {
  const ago = /^(\d+)\s*(second|minute|hour|day)s?\s+ago$/i.exec(text);
  if (ago) {
    const seconds = Number(ago[1]) * (UNIT_SECONDS[(ago[2] ?? '').toLowerCase()] ?? 0);
    const time = new Date(now.getTime() - seconds * 1_000).toISOString();
    return { time, note: `"${text}" is ${time}` };
  }
  const written = /^(\d{4}-\d{2}-\d{2})[T ](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?)\s*(Z|UTC|[+-]\d{2}:?\d{2})?$/i.exec(text);
  if (!written) throw notATime(text);
  const [, day, clock, zone] = written;
  const iso = `${day}T${clock?.length === 5 ? `${clock}:00` : clock}`;
  const parsed = new Date(zone === undefined ? iso : `${iso}${/^(z|utc)$/i.test(zone) ? 'Z' : zone}`);
  // A day that does not exist (31 June) is rolled over silently by Date: what was written must come back.
  if (Number.isNaN(parsed.getTime()) || !existsOnCalendar(day ?? '')) throw notATime(text);
  const time = withMicroseconds(parsed.toISOString(), clock);
  if (parsed > now)
    throw failure('UsageInvalid', `the time ${time} lies in the future: it is ${now.toISOString()} now`);
  return zone === undefined
    ? { time, note: `"${text}" has no zone: read as local time, ${time}` }
    : { time, note: null };
}

/** PostgreSQL's commits are that close together: what was written behind the milliseconds counts. */
function withMicroseconds(iso: string, clock: string | undefined): string {
  const finer = /\.\d{3}(\d{1,3})/.exec(clock ?? '')?.[1]?.replace(/0+$/, '');
  return finer ? iso.replace('Z', `${finer.padEnd(3, '0')}Z`) : iso;
}

const existsOnCalendar = (day: string) => new Date(`${day}T00:00:00Z`).toISOString().startsWith(day);

const notATime = (text: string) =>
  failure('UsageInvalid', `"${text}" is no point to restore to`, {
    next:
      'Write latest, a time (2026-11-22T13:05:03Z, "2026-11-22 13:05:03", "10 minutes ago"), ' +
      'a backup id from `drctl backups list`, name:<restore point>, xid:<transaction id>, or position:<log position>.',
  });
