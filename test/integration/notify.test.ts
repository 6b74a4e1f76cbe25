import { createHmac } from 'node:crypto';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import * as tls from 'node:tls';
import { CloudWatchClient, GetMetricStatisticsCommand } from '@aws-sdk/client-cloudwatch';
import { CreateTopicCommand, SNSClient, SubscribeCommand } from '@aws-sdk/client-sns';
import { createMetricPublishers } from '../../adapters/metrics';
import { settings as metricsSettings } from '../../adapters/metrics/settings';
import { createNotifiers } from '../../adapters/notify';
import { settings as notifierSettings } from '../../adapters/notify/settings';
import { backupSuccessSample } from '../../core/metrics';
import type { Notification, Notifier } from '../../core/notify';
import { Secret } from '../../core/secret';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { testContext } from '../support/call-context';
import { selfSigned } from '../support/certificate';
import { expectFailure } from '../support/expect-failure';
import { startMoto, waitUntil } from '../support/servers';
import { type SmtpServer, type SmtpServerOptions, startSmtpServer } from '../support/smtp-server';

const ctx = testContext();

const news: Notification = {
  id: 'backup:ultramarket:orders-db/2026-11-22T02:00:00Z',
  application: 'ultramarket',
  severity: 'critical',
  title: 'no backup of orders-db for 26 hours',
  lines: ['The newest is from 2026-11-21T00:00:00Z.', 'Look at backup:ultramarket:orders-db.'],
  at: '2026-11-22T02:00:00.000Z',
  fields: { backup_type: 'postgresql', status: 'error' },
};

function notifier(settings: object): Notifier {
  const [made] = createNotifiers({ alerts: notifierSettings.parse(settings) });
  if (!made) throw new Error('no notifier was made');
  return made;
}

interface Received {
  readonly method: string | undefined;
  readonly url: string | undefined;
  readonly headers: http.IncomingHttpHeaders;
  readonly body: string;
}

interface Receiver {
  readonly url: string;
  readonly received: Received[];
  answer: http.RequestListener;
  stop(): Promise<void>;
}

async function startReceiver(): Promise<Receiver> {
  const received: Received[] = [];
  const server = http.createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString('utf8')));
    request.on('end', () => {
      received.push({ method: request.method, url: request.url, headers: request.headers, body });
      receiver.answer(request, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    received,
    answer: (_, response) => response.end('ok'),
    async stop() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return receiver;
}

let receiver: Receiver;
beforeEach(async () => {
  receiver = await startReceiver();
});
afterEach(async () => receiver.stop());

describe('SNS and CloudWatch', () => {
  let moto: Awaited<ReturnType<typeof startMoto>>;
  let access: { endpoint: string; accessKeyId: Secret; secretAccessKey: Secret };
  let sns: SNSClient;
  const plain = { region: 'us-east-1', credentials: { accessKeyId: 'test', secretAccessKey: 'test' } };
  beforeAll(async () => {
    moto = await startMoto();
    access = { endpoint: moto.endpoint, accessKeyId: new Secret('test'), secretAccessKey: new Secret('secret-key') };
    sns = new SNSClient({ ...plain, endpoint: moto.endpoint });
  });
  afterAll(async () => {
    sns?.destroy();
    await moto?.stop();
  });

  async function subscribedTopic(name: string, Attributes: Record<string, string> = {}): Promise<string> {
    const { TopicArn = '' } = await sns.send(new CreateTopicCommand({ Name: name }));
    await sns.send(new SubscribeCommand({ TopicArn, Protocol: 'http', Endpoint: receiver.url, Attributes }));
    return TopicArn;
  }

  async function delivered(): Promise<{ Subject: string; Message: string }> {
    const messages = () =>
      receiver.received
        .map(({ body }) => JSON.parse(body) as { Type: string; Subject: string; Message: string })
        .filter(({ Type }) => Type === 'Notification');
    await waitUntil('the message reaching the subscriber', async () => messages().length > 0);
    const [message] = messages();
    if (!message || messages().length > 1) throw new Error(`expected one message, got ${JSON.stringify(messages())}`);
    return message;
  }

  test('the subscriber gets the subject and the fields that the old alerts had', async () => {
    const topicArn = await subscribedTopic('ultramarket-backup-alerts');
    await notifier({ kind: 'sns', topicArn, subjectPrefix: 'UltraMarket Backup Alert', ...access }).send(news, ctx);
    const { Subject, Message } = await delivered();
    expect(Subject).toBe('UltraMarket Backup Alert: postgresql');
    expect(JSON.parse(Message)).toEqual({
      backup_type: 'postgresql',
      status: 'error',
      message: [news.title, ...news.lines].join('\n'),
      timestamp: news.at,
      id: news.id,
      application: 'ultramarket',
      severity: 'critical',
    });
  });

  test('news that are no backup have their title as subject, cut to what SNS takes', async () => {
    const topicArn = await subscribedTopic('role-changes');
    const title = `failover to dr is waiting — ${'approve it '.repeat(20)}\nBcc: x`;
    await notifier({ kind: 'sns', topicArn, ...access }).send({ ...news, title, fields: {} }, ctx);
    const { Subject, Message } = await delivered();
    expect(Subject).toMatch(/^ultramarket: failover to dr is waiting \? approve it approve it/);
    expect(Subject.length).toBeLessThan(100);
    expect(JSON.parse(Message)).toMatchObject({ backup_type: null, status: 'critical' });
  });

  test('a subscription can choose by severity without reading the message', async () => {
    const topicArn = await subscribedTopic('only-critical', {
      FilterPolicy: JSON.stringify({ severity: ['critical'] }),
    });
    const topic = notifier({ kind: 'sns', topicArn, ...access });
    await topic.send({ ...news, severity: 'info', title: 'all is well' }, ctx);
    await topic.send(news, ctx);
    expect(JSON.parse((await delivered()).Message)).toMatchObject({ severity: 'critical' });
  });

  test('a topic that does not exist and an endpoint where nobody is: NotificationFailed that names the channel', async () => {
    const topicArn = 'arn:aws:sns:us-east-1:123456789012:no-such-topic';
    await expectFailure(
      notifier({ kind: 'sns', topicArn, ...access }).send(news, ctx),
      'NotificationFailed',
      'alerts (sns): NotFound',
    );
    const endpoint = `http://${await freeLoopbackHost(5000)}:5000`;
    const error = await expectFailure(
      notifier({ kind: 'sns', topicArn, ...access, endpoint }).send(news, ctx),
      'NotificationFailed',
      'ECONNREFUSED',
    );
    expect(JSON.stringify([error, error.message])).not.toContain('secret-key');
  });

  test('BackupSuccess by BackupType reaches CloudWatch: 1 for healthy, 0 for not', async () => {
    const [publisher] = createMetricPublishers(
      metricsSettings.parse({ cloudwatch: { namespace: 'UltraMarket/Backup', ...access } }),
    );
    const at = new Date().toISOString();
    const samples = [backupSuccessSample('postgresql', true, at), backupSuccessSample('redis', false, at)];
    await publisher?.publish(samples, ctx);
    const cloudwatch = new CloudWatchClient({ ...plain, endpoint: moto.endpoint });
    const valueOf = async (type: string) => {
      const request = new GetMetricStatisticsCommand({
        Namespace: 'UltraMarket/Backup',
        MetricName: 'BackupSuccess',
        Dimensions: [{ Name: 'BackupType', Value: type }],
        StartTime: new Date(Date.parse(at) - 120_000),
        EndTime: new Date(Date.parse(at) + 120_000),
        Period: 60,
        Statistics: ['Maximum', 'SampleCount'],
      });
      const { Datapoints = [] } = await cloudwatch.send(request);
      return Datapoints.map(({ Maximum, SampleCount, Unit }) => ({ Maximum, SampleCount, Unit }));
    };
    await expect(valueOf('postgresql')).resolves.toEqual([{ Maximum: 1, SampleCount: 1, Unit: 'Count' }]);
    await expect(valueOf('redis')).resolves.toEqual([{ Maximum: 0, SampleCount: 1, Unit: 'Count' }]);
    await expect(valueOf('mongodb')).resolves.toEqual([]);
    cloudwatch.destroy();
  });

  test('a CloudWatch that is not there is NotificationFailed', async () => {
    const endpoint = `http://${await freeLoopbackHost(5000)}:5000`;
    const cloudwatch = { namespace: 'UltraMarket/Backup', ...access, endpoint };
    const [publisher] = createMetricPublishers(metricsSettings.parse({ cloudwatch }));
    const call = publisher?.publish([backupSuccessSample('redis', true, news.at)], ctx) ?? Promise.resolve();
    await expectFailure(call, 'NotificationFailed', 'UltraMarket/Backup: ');
  });
});

describe('Slack', () => {
  const slack = (more: object = {}) =>
    notifier({ kind: 'slack', webhook: new Secret(`${receiver.url}/services/T0/B0/secret-path`), ...more });

  test('posts a message that shows all and lets no text become a command', async () => {
    await slack().send({ ...news, title: 'orders-db <!channel> & more' }, ctx);
    const [request] = receiver.received;
    expect(request).toMatchObject({ method: 'POST', url: '/services/T0/B0/secret-path' });
    const { text, blocks } = JSON.parse(request?.body ?? '') as { text: string; blocks: { text?: { text: string } }[] };
    expect(text).toBe('ultramarket: orders-db <!channel> & more');
    expect(blocks[0]?.text?.text).toBe(
      `:rotating_light: *ultramarket: orders-db &lt;!channel&gt; &amp; more*\n${news.lines.join('\n')}`,
    );
    expect(JSON.stringify(blocks[1])).toContain('backup_type: postgresql');
  });

  test('a refusal tells what Slack said and never the address, which is the password', async () => {
    receiver.answer = (_, response) => response.writeHead(404).end('no_service');
    const refused = await expectFailure(
      slack().send(news, ctx),
      'NotificationFailed',
      'alerts (slack): HTTP 404: no_service',
    );
    receiver.answer = (_, response) => response.writeHead(429, { 'retry-after': '30' }).end('rate_limited');
    const busy = await expectFailure(slack().send(news, ctx), 'NotificationFailed', 'asked to wait 30 s');
    receiver.answer = () => {};
    const late = await expectFailure(
      slack({ timeoutSeconds: 0.3 }).send(news, ctx),
      'NotificationFailed',
      'within 0.3 s',
    );
    for (const error of [refused, busy, late]) {
      expect(JSON.stringify([error, error.message, error.stack])).not.toContain('secret-path');
    }
  });
});

describe('a webhook', () => {
  const hook = (more: object = {}) => notifier({ kind: 'webhook', url: `${receiver.url}/hook`, ...more });

  test('carries the notification, its id and a signature that the receiver can check', async () => {
    const key = Buffer.from('0123456789abcdef0123456789abcdef');
    for (const [secret, bytes] of [
      [`whsec_${key.toString('base64')}`, key],
      ['plain text', Buffer.from('plain text')],
    ] as const) {
      await hook({ signingKey: new Secret(secret), token: new Secret('bearer') }).send(news, ctx);
      const { body, headers } = receiver.received.at(-1) as Received;
      expect(JSON.parse(body)).toEqual(news);
      expect(headers).toMatchObject({
        'webhook-id': news.id,
        authorization: 'Bearer bearer',
        'content-type': 'application/json',
      });
      const stamp = headers['webhook-timestamp'] as string;
      expect(Math.abs(Number(stamp) - Date.now() / 1_000)).toBeLessThan(5);
      const wanted = createHmac('sha256', bytes).update(`${news.id}.${stamp}.${body}`).digest('base64');
      expect(headers['webhook-signature']).toBe(`v1,${wanted}`);
    }
  });

  test('without a key there is no signature; any 2xx is a delivery, all else is not', async () => {
    receiver.answer = (_, response) => response.writeHead(202).end();
    await hook().send(news, ctx);
    expect(receiver.received[0]?.headers['webhook-signature']).toBeUndefined();
    receiver.answer = (_, response) => response.writeHead(302, { location: '/elsewhere' }).end();
    await expectFailure(hook().send(news, ctx), 'NotificationFailed', 'HTTP 302');
    expect(receiver.received.map(({ url }) => url)).toEqual(['/hook', '/hook']);
    receiver.answer = (_, response) => response.destroy();
    await expectFailure(hook().send(news, ctx), 'NotificationFailed', 'alerts (webhook)');
  });
});

describe('mail', () => {
  let server: SmtpServer | null = null;
  afterEach(async () => {
    await server?.stop();
    server = null;
  });

  async function mailer(options: SmtpServerOptions, settings: object): Promise<Notifier> {
    await server?.stop();
    server = await startSmtpServer(options);
    const addresses = { from: 'drctl@ultramarket.com', to: ['oncall@ultramarket.com', 'dba@ultramarket.com'] };
    return notifier({
      kind: 'smtp',
      host: '127.0.0.1',
      port: server.port,
      ...addresses,
      timeoutSeconds: 5,
      ...settings,
    });
  }

  test('reaches everybody with subject, lines and facts, and a repetition has the same Message-ID', async () => {
    const mail = await mailer({}, { security: 'none' });
    await mail.send({ ...news, lines: ['.first', 'Ünïcode — works'] }, ctx);
    await mail.send(news, ctx);
    const [first, second] = server?.mails ?? [];
    expect(first).toMatchObject({
      from: 'drctl@ultramarket.com',
      to: ['oncall@ultramarket.com', 'dba@ultramarket.com'],
    });
    expect(first?.text).toContain('Subject: [critical] ultramarket: no backup of orders-db for 26 hours');
    expect(first?.text).toContain('Auto-Submitted: auto-generated');
    expect(decoded(first?.text)).toContain('.first\nÜnïcode — works');
    expect(decoded(second?.text)).toContain('backup_type: postgresql');
    const idOf = (text = '') => /^Message-ID: (<.+>)$/m.exec(text)?.[1];
    expect(idOf(first?.text)).toMatch(/^<[0-9a-f]{32}@drctl\.ultramarket>$/);
    expect(idOf(second?.text)).toBe(idOf(first?.text));
  });

  test('a title cannot add a header or a recipient', async () => {
    const mail = await mailer({}, { security: 'none' });
    await mail.send({ ...news, title: 'down\r\nBcc: eve@example.org' }, ctx);
    const [received] = server?.mails ?? [];
    expect(received?.to).toEqual(['oncall@ultramarket.com', 'dba@ultramarket.com']);
    expect(received?.text).not.toMatch(/^Bcc:/m);
  });

  test('with STARTTLS the password and the mail are encrypted', async () => {
    const login = { user: 'drctl', password: 'mail-password' };
    const certificate = selfSigned('localhost');
    const before = tls.getCACertificates('default');
    tls.setDefaultCACertificates([...before, certificate.cert]);
    try {
      const secrets = { user: login.user, password: new Secret(login.password) };
      const mail = await mailer({ login, tls: certificate }, { ...secrets, host: 'localhost' });
      await mail.send(news, ctx);
      expect(server?.mails).toMatchObject([{ encrypted: true, login: 'drctl' }]);
      const wrong = await mailer(
        { login, tls: certificate },
        { ...secrets, password: new Secret('other'), host: 'localhost' },
      );
      const error = await expectFailure(
        wrong.send(news, ctx),
        'NotificationFailed',
        'refused the user or password (535)',
      );
      expect(JSON.stringify([error, error.message, error.stack])).not.toContain('other');
    } finally {
      tls.setDefaultCACertificates(before);
    }
  });

  test('a server whose certificate is not trusted gets neither password nor mail', async () => {
    const login = { user: 'drctl', password: 'mail-password' };
    const secrets = { user: login.user, password: new Secret(login.password) };
    const mail = await mailer({ login, tls: selfSigned('localhost') }, { ...secrets, host: 'localhost' });
    await expectFailure(mail.send(news, ctx), 'NotificationFailed', 'self-signed');
    expect(server?.mails).toEqual([]);
  });

  test('a server without STARTTLS gets neither password nor mail', async () => {
    const login = { user: 'drctl', password: 'mail-password' };
    const mail = await mailer({ login }, { user: login.user, password: new Secret(login.password) });
    await expectFailure(mail.send(news, ctx), 'NotificationFailed', `127.0.0.1:${server?.port}`);
    expect(server?.mails).toEqual([]);
  });

  test('a refused recipient is an error that names it, though the others got the mail', async () => {
    const mail = await mailer({ refuse: ['dba@ultramarket.com'] }, { security: 'none' });
    await expectFailure(mail.send(news, ctx), 'NotificationFailed', 'refused dba@ultramarket.com');
    expect(server?.mails[0]?.to).toEqual(['oncall@ultramarket.com']);
  });

  test('nobody there, and a server that goes silent, end in time and leave no connection', async () => {
    const mail = await mailer({ silentAt: 'DATA' }, { security: 'none', timeoutSeconds: 0.5 });
    const startedAt = performance.now();
    await expectFailure(mail.send(news, ctx), 'NotificationFailed', 'not sent within 0.5 s');
    expect(performance.now() - startedAt).toBeLessThan(2_000);
    await waitUntil('the connection being closed', async () => server?.openConnections() === 0);
    await server?.stop();
    await expectFailure(mail.send(news, ctx), 'NotificationFailed', 'ECONNREFUSED');
  });

  test('a cancelled step ends with the reason of the cancellation', async () => {
    const abort = new AbortController();
    const mail = await mailer({ silentAt: 'EHLO' }, { security: 'none' });
    const reason = new Error('cancelled');
    setTimeout(() => abort.abort(reason), 100);
    await expect(mail.send(news, testContext(abort.signal))).rejects.toBe(reason);
  });
});

/** The body of a quoted-printable or plain mail as text. */
function decoded(text = ''): string {
  const bytes = text
    .replaceAll(/=\n/g, '')
    .replaceAll(/=([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
  return text.includes('quoted-printable') ? Buffer.from(bytes, 'latin1').toString('utf8') : text;
}
