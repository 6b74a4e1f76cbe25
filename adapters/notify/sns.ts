import { PublishCommand, SNSClient } from '@aws-sdk/client-sns';
import type { Notification, Notifier } from '../../core/notify';
import { AwsProblem, callAws } from '../aws/aws-errors';
import { awsClientOptions } from '../aws/client-options';
import { notificationFailure } from './notification-failure';
import type { SnsSettings } from './settings';

/** SNS allows fewer than 100 characters of ASCII without control characters in a subject (API reference of Publish). */
const MAX_SUBJECT_LENGTH = 99;

/** Publishes to a topic. A FIFO topic drops the repetition of a notification by its id. */
export function createSnsNotifier(name: string, settings: SnsSettings): Notifier {
  const client = new SNSClient(awsClientOptions(settings, `notifications.${name}`));
  const fifo = settings.topicArn.endsWith('.fifo');
  return {
    name,
    kind: 'sns',
    leastSeverity: settings.leastSeverity,
    async send(notification, ctx) {
      const command = new PublishCommand({
        TopicArn: settings.topicArn,
        Subject: snsSubject(notification, settings.subjectPrefix),
        Message: JSON.stringify(snsMessage(notification)),
        // Subscriptions can filter by these without reading the message.
        MessageAttributes: {
          severity: { DataType: 'String', StringValue: notification.severity },
          application: { DataType: 'String', StringValue: notification.application },
        },
        ...(fifo ? { MessageGroupId: notification.application, MessageDeduplicationId: notification.id } : {}),
      });
      try {
        await callAws(settings, ctx.signal, (options) => client.send(command, options));
      } catch (cause) {
        if (cause instanceof AwsProblem) throw notificationFailure(name, 'sns', cause.message, cause);
        throw cause;
      }
    },
  };
}

/** `UltraMarket Backup Alert: postgresql` for news of a backup, the title for all else. */
function snsSubject({ application, title, fields }: Notification, prefix = `${application} Backup Alert`): string {
  const backupType = fields['backup_type'];
  const subject = backupType === undefined ? `${application}: ${title}` : `${prefix}: ${backupType}`;
  return subject
    .replaceAll(/\s+/g, ' ')
    .replaceAll(/[^\x20-\x7e]/g, '?')
    .trim()
    .slice(0, MAX_SUBJECT_LENGTH);
}

/** The four fields that consumers of the old alerts read come first and are always there. */
function snsMessage({ id, application, severity, title, lines, at, fields }: Notification) {
  return {
    backup_type: fields['backup_type'] ?? null,
    status: fields['status'] ?? severity,
    message: [title, ...lines].join('\n'),
    timestamp: at,
    ...fields,
    id,
    application,
    severity,
  };
}
