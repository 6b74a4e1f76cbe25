import { failure } from './errors';

const UNIT_MILLISECONDS: Record<string, number> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };
const UNIT_BYTES: Record<string, number> = { B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40 };

/** Reads `90s`, `15m`, `4h`, `7d`, `250ms` into milliseconds. Throws ConfigInvalid that says what is allowed. */
export function parseDurationMilliseconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text.trim());
  const unit = match?.[2] === undefined ? undefined : UNIT_MILLISECONDS[match[2]];
  if (!match || unit === undefined) {
    throw failure('ConfigInvalid', `"${text}" is not a duration: write a number and ms, s, m, h or d, such as 15m`);
  }
  return Math.round(Number(match[1]) * unit);
}

/** Reads `128MiB`, `1GiB`, `512B` into bytes. Throws ConfigInvalid that says what is allowed. */
export function parseSizeBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(B|KiB|MiB|GiB|TiB)$/.exec(text.trim());
  const unit = match?.[2] === undefined ? undefined : UNIT_BYTES[match[2]];
  if (!match || unit === undefined) {
    throw failure(
      'ConfigInvalid',
      `"${text}" is not a size: write a number and B, KiB, MiB, GiB or TiB, such as 128MiB`,
    );
  }
  return Math.round(Number(match[1]) * unit);
}

/** `2026-11-22T13:05:03.120Z` → `20261122T130503Z`, the form used in backup ids and keys. */
export function basicTime(iso: string): string {
  return `${iso.slice(0, 19).replaceAll('-', '').replaceAll(':', '')}Z`;
}

/** `73210` → `1m 13s`; what a person reads in tables. */
export function formatDuration(milliseconds: number): string {
  if (milliseconds < 1_000) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 60_000) return `${(milliseconds / 1_000).toFixed(1)} s`;
  const seconds = Math.round(milliseconds / 1_000);
  const [days, hours, minutes] = [
    Math.floor(seconds / 86_400),
    Math.floor((seconds % 86_400) / 3_600),
    Math.floor((seconds % 3_600) / 60),
  ];
  if (days > 0) return `${days}d ${hours}h`;
  if (hours > 0) return `${hours}h ${minutes}m`;
  return `${minutes}m ${seconds % 60}s`;
}

/** `1 backup`, `2 backups`. */
export const countOf = (many: number, what: string): string => `${many} ${what}${many === 1 ? '' : 's'}`;

/** `134217728` → `128.0 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  const power = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(bytes) / 10));
  return power === 0 ? `${bytes} B` : `${(bytes / 2 ** (10 * power)).toFixed(1)} ${units[power]}`;
}
