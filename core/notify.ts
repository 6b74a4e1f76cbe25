import type { CallContext } from './call';

export const SEVERITIES = ['info', 'warning', 'critical'] as const;
export type Severity = (typeof SEVERITIES)[number];

export interface Notification {
  /** The same for every repetition of the same news: channels that can, drop the second one. */
  readonly id: string;
  readonly application: string;
  readonly severity: Severity;
  /** Who is told is decided by this where it differs: who heard of a trouble hears that it is over. */
  readonly concerns?: Severity;
  /** One line, also a subject. */
  readonly title: string;
  /** Short lines: what happened, what it means, what to do. */
  readonly lines: readonly string[];
  readonly at: string;
  /** Small facts for machines (`backup_type`, `status`, …). */
  readonly fields: Readonly<Record<string, string>>;
}

/** A way to tell people. Delivery is at least once; throws NotificationFailed, which never blocks anything. */
export interface Notifier {
  readonly name: string;
  readonly kind: string;
  /** News of less are not for it. */
  readonly leastSeverity: Severity;
  send(notification: Notification, ctx: CallContext): Promise<void>;
}
