import { createHash } from 'node:crypto';
import { once } from 'node:events';
import * as net from 'node:net';
import type { Notification, Notifier } from '../../core/notify';
import { notificationFailure } from './notification-failure';
import type { SmtpSettings } from './settings';

/** Sends mail. The Message-ID comes of the notification's id, so mailboxes that can show a repetition once do so. */
export function createSmtpNotifier(name: string, settings: SmtpSettings): Notifier {
  return {
    name,
    kind: 'smtp',
    leastSeverity: settings.leastSeverity,
    async send(notification, ctx) {
      ctx.signal.throwIfAborted();
      // nodemailer's own timeouts are per phase and it knows no signal: the connection is ours and ends with the signal.
      const deadline = AbortSignal.timeout(settings.timeoutSeconds * 1_000);
      const signal = AbortSignal.any([ctx.signal, deadline]);
      try {
        // Here: nothing else needs it, and it takes as long to load as all the other channels.
        const { createTransport } = await import('nodemailer');
        const transport = createTransport(transportOptions(settings, await connect(settings, signal)));
        const sent = await transport.sendMail(mailOf(notification, settings));
        // Some were accepted: they get it again when the step is repeated, which is better than one who never hears.
        if (sent.rejected.length > 0) throw new Error(`the server refused ${sent.rejected.map(String).join(', ')}`);
      } catch (cause) {
        ctx.signal.throwIfAborted();
        const why = deadline.aborted ? `not sent within ${settings.timeoutSeconds} s` : reasonOf(cause);
        throw notificationFailure(name, 'smtp', `${settings.host}:${settings.port}: ${why}`, cause);
      }
    },
  };
}

async function connect({ host, port }: SmtpSettings, signal: AbortSignal): Promise<net.Socket> {
  const socket = net.connect({ host, port, signal });
  await once(socket, 'connect');
  return socket;
}

function transportOptions(
  { host, port, security, user, password, timeoutSeconds }: SmtpSettings,
  connection: net.Socket,
) {
  const milliseconds = timeoutSeconds * 1_000;
  return {
    host,
    port,
    connection,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    ...(user && password ? { auth: { user, pass: password.reveal() } } : {}),
    greetingTimeout: milliseconds,
    socketTimeout: milliseconds,
    // A mail of ours is text only: nothing in it may make the worker read a file or fetch an address.
    disableFileAccess: true,
    disableUrlAccess: true,
  };
}

function mailOf({ id, application, severity, title, lines, fields, at }: Notification, { from, to }: SmtpSettings) {
  const facts = Object.entries(fields).map(([key, value]) => `${key}: ${value}`);
  const urgent = severity === 'critical' ? ({ priority: 'high' } as const) : {};
  return {
    from,
    to: [...to],
    subject: `[${severity}] ${application}: ${title}`,
    text: [...lines, '', ...facts, '', `${at} · ${id}`].join('\n'),
    messageId: `<${createHash('sha256').update(id).digest('hex').slice(0, 32)}@drctl.${application}>`,
    headers: { 'Auto-Submitted': 'auto-generated' }, // RFC 3834: out-of-office programs do not answer it
    ...urgent,
  };
}

/** The server's words are kept, the protocol's command is not: AUTH carries the password. */
function reasonOf(error: unknown): string {
  const { code, responseCode, message } = error as { code?: string; responseCode?: number; message?: string };
  if (code === 'EAUTH') return `it refused the user or password${responseCode ? ` (${responseCode})` : ''}`;
  return message ?? String(error);
}
