import type { Severity } from '../notify';
import { SEVERITIES } from '../notify';
import type { CheckHealthResult, StoreHealth } from '../runs';
import type { AlertName } from './policy';
import type { HealthReason } from './store-view';

/** The newest judgement of every store, and what people know of it: `monitoring/health.json` of the control repository. */
export interface KeptHealth {
  readonly result: CheckHealthResult;
  readonly told: Readonly<Record<string, ToldStore>>;
}

/** What is remembered of one store between two checks. */
export interface ToldStore {
  /** Since when each trouble that there is now has been there. */
  readonly since: Partial<Readonly<Record<AlertName, string>>>;
  /** What people were told last; null when they know that all is well, or were never told anything. */
  readonly last: LastTold | null;
}

export interface LastTold {
  readonly alerts: readonly AlertName[];
  readonly severity: Severity;
  readonly at: string;
  /** Channels that did not take it: they are tried again with the next check, the others are left in peace. */
  readonly missed: readonly string[];
}

export interface HealthNews {
  readonly store: string;
  /** `again`: only for channels that missed what the others know. */
  readonly what: 'alarm' | 'relief' | 'again';
  /** Of the trouble, also where it is over: who heard of it hears of its end. */
  readonly severity: Severity;
  readonly reasons: readonly HealthReason[];
  /** Null: every channel that wants this severity. */
  readonly channels: readonly string[] | null;
}

export const NEVER_TOLD: ToldStore = { since: {}, last: null };

/** When each trouble began, and whether people have to hear of it now. */
export function newsOf(
  { store, reasons }: Pick<StoreHealth, 'store' | 'reasons'>,
  { since: before, last }: ToldStore,
  at: string,
  repeatAfterSeconds: number,
): { readonly since: ToldStore['since']; readonly news: HealthNews | null } {
  const since = Object.fromEntries(reasons.map(({ alert }) => [alert, before[alert] ?? at])) as ToldStore['since'];
  const lasts = (alert: AlertName) => secondsBetween(since[alert] ?? at, at);
  // What was told of is not in doubt again because it came back in another form before its time.
  const due = reasons.filter(({ alert, forSeconds }) => lasts(alert) >= forSeconds || last?.alerts.includes(alert));
  const alerts = alertsOf(due);
  const news = (what: HealthNews['what'], severity: Severity, channels: HealthNews['channels'] = null) => ({
    since,
    news: { store, what, severity, reasons: due, channels },
  });
  if (due.length === 0) return last ? news('relief', last.severity) : { since, news: null };
  const severity = worst(due);
  const isNew = alerts.join() !== (last?.alerts ?? []).join();
  if (isNew || !last || secondsBetween(last.at, at) >= repeatAfterSeconds) return news('alarm', severity);
  return last.missed.length > 0 ? news('again', severity, last.missed) : { since, news: null };
}

/** What is known after it was told; `undelivered` is null where nobody could be told at all. */
export function afterTelling(
  { last }: ToldStore,
  { what, reasons, severity }: HealthNews,
  at: string,
  undelivered: readonly string[] | null,
): LastTold | null {
  // The next check tells it again, as if this one had not been.
  if (undelivered === null) return last;
  if (what === 'relief') return null;
  return { alerts: alertsOf(reasons), severity, at: what === 'again' && last ? last.at : at, missed: undelivered };
}

function alertsOf(reasons: readonly HealthReason[]): AlertName[] {
  return [...new Set(reasons.map(({ alert }) => alert))].toSorted();
}

function worst(reasons: readonly HealthReason[]): Severity {
  const rank = Math.max(...reasons.map(({ severity }) => SEVERITIES.indexOf(severity)));
  return SEVERITIES[rank] ?? 'critical';
}

const secondsBetween = (from: string, to: string) => (Date.parse(to) - Date.parse(from)) / 1_000;
