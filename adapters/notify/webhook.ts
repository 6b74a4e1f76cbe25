import { createHmac } from 'node:crypto';
import type { Notifier } from '../../core/notify';
import type { Secret } from '../../core/secret';
import { NoAnswer, requestJson } from '../http/json-request';
import { notificationFailure } from './notification-failure';
import type { WebhookSettings } from './settings';

/**
 * POSTs the notification as JSON with the headers of Standard Webhooks: `webhook-id` is the notification's id, so a
 * receiver drops repetitions by it; with a signing key, `webhook-signature` proves who sent it. Any 2xx is a delivery.
 */
export function createWebhookNotifier(name: string, settings: WebhookSettings): Notifier {
  return {
    name,
    kind: 'webhook',
    leastSeverity: settings.leastSeverity,
    async send(notification, ctx) {
      const body = JSON.stringify(notification);
      const headers = webhookHeaders(notification.id, Math.floor(Date.now() / 1_000), body, settings.signingKey);
      const { url, token, timeoutSeconds } = settings;
      const request = { method: 'POST', url, headers, token, body, timeoutSeconds, signal: ctx.signal } as const;
      const answer = await requestJson(request).catch((error: unknown) => {
        if (error instanceof NoAnswer) throw notificationFailure(name, 'webhook', error.message, error);
        throw error;
      });
      if (answer.status < 200 || answer.status > 299) {
        throw notificationFailure(name, 'webhook', `HTTP ${answer.status}: ${answer.excerpt}`);
      }
    },
  };
}

/** https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md */
export function webhookHeaders(
  id: string,
  timestampSeconds: number,
  body: string,
  key?: Secret,
): Record<string, string> {
  const headers = { 'webhook-id': id, 'webhook-timestamp': `${timestampSeconds}` };
  if (!key) return headers;
  const signature = createHmac('sha256', keyBytes(key)).update(`${id}.${timestampSeconds}.${body}`).digest('base64');
  return { ...headers, 'webhook-signature': `v1,${signature}` };
}

function keyBytes(key: Secret): Buffer {
  const text = key.reveal();
  return text.startsWith('whsec_') ? Buffer.from(text.slice('whsec_'.length), 'base64') : Buffer.from(text, 'utf8');
}
