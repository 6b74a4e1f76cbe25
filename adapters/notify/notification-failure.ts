import { failure } from '../../core/errors';

/** Names the channel, never its address: a webhook's address is its password. */
export function notificationFailure(channel: string, kind: string, why: string, cause?: unknown): Error {
  return failure('NotificationFailed', `notifying through ${channel} (${kind}): ${why}`, {
    next: `Check \`notifications.${channel}\` in the config; nothing waits for it.`,
    // Causes of HTTP and SMTP clients can carry addresses and credentials; only the reason is kept.
    ...(cause instanceof Error ? { context: { cause: cause.name } } : {}),
  });
}
