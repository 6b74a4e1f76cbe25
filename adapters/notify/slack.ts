import type { Notification, Notifier, Severity } from '../../core/notify';
import { NoAnswer, requestJson } from '../http/json-request';
import { notificationFailure } from './notification-failure';
import type { SlackSettings } from './settings';

const MARK: Readonly<Record<Severity, string>> = {
  info: ':information_source:',
  warning: ':warning:',
  critical: ':rotating_light:',
};
/** Slack refuses a section whose text is longer (Block Kit reference, section block). */
const MAX_SECTION_LENGTH = 3_000;

/** Posts to an incoming webhook. Slack keeps no ids, so a repetition is shown twice. */
export function createSlackNotifier(name: string, settings: SlackSettings): Notifier {
  return {
    name,
    kind: 'slack',
    leastSeverity: settings.leastSeverity,
    async send(notification, ctx) {
      const request = {
        method: 'POST',
        url: settings.webhook.reveal(),
        body: slackMessage(notification),
        timeoutSeconds: settings.timeoutSeconds,
        signal: ctx.signal,
      } as const;
      const answer = await requestJson(request).catch((error: unknown) => {
        if (error instanceof NoAnswer) throw notificationFailure(name, 'slack', error.message, error);
        throw error;
      });
      if (answer.status === 200) return;
      const retryAfter = answer.headers.get('retry-after');
      const later = retryAfter ? ` (asked to wait ${retryAfter} s)` : '';
      throw notificationFailure(name, 'slack', `HTTP ${answer.status}: ${answer.excerpt}${later}`);
    },
  };
}

function slackMessage({ application, severity, title, lines, fields, at }: Notification) {
  const headline = `${MARK[severity]} *${escape(application)}: ${escape(title)}*`;
  const body = lines.map(escape).join('\n');
  const facts = Object.entries(fields).map(([key, value]) => `${escape(key)}: ${escape(value)}`);
  return {
    text: `${application}: ${title}`, // what a phone's notification and a screen reader show
    blocks: [
      { type: 'section', text: { type: 'mrkdwn', text: cut([headline, body].filter(Boolean).join('\n')) } },
      { type: 'context', elements: [{ type: 'mrkdwn', text: cut([at, ...facts].join(' · ')) }] },
    ],
  };
}

/** The three characters that Slack's mrkdwn gives a meaning (formatting reference): `<!channel>` in a name pages everyone. */
function escape(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}

function cut(text: string): string {
  return text.length <= MAX_SECTION_LENGTH ? text : `${text.slice(0, MAX_SECTION_LENGTH - 1)}…`;
}
