import { settings as fence } from '../../adapters/fence/settings';
import { settings as metrics } from '../../adapters/metrics/settings';
import { settings as notify } from '../../adapters/notify/settings';
import { settings as services } from '../../adapters/services/settings';
import { settings as zone } from '../../adapters/traffic/settings';
import { Secret } from '../../core/secret';

const token = new Secret('t');
const mail = { kind: 'smtp', host: 'mail.test', from: 'a@b.test', to: ['c@d.test'] };

/** The path and message of the first issue; null when the settings are accepted. */
function issue(
  schema: { safeParse(value: unknown): { error?: { issues: { path: PropertyKey[]; message: string }[] } } },
  value: unknown,
) {
  const first = schema.safeParse(value).error?.issues[0];
  return first ? `${first.path.join('.')}: ${first.message}` : null;
}

test.each([
  ['services by process', services, { kind: 'process', url: 'http://127.20.0.9:7070', token }],
  [
    'services by kubeconfig',
    services,
    { kind: 'kubernetes', sites: { dr: { kubeconfig: '/k', context: 'c', namespace: 'ultramarket-dr' } } },
  ],
  [
    'services in the cluster',
    services,
    { kind: 'kubernetes', sites: { dr: { inCluster: true, namespace: 'ultramarket-dr' } } },
  ],
  ['a zone with the credentials of its surroundings', zone, { kind: 'route53', zoneId: 'Z123456789' }],
  ['a fence by agent', fence, { kind: 'agent', url: 'https://agent.test', token }],
  ['a fence by command', fence, { kind: 'command', argv: ['/usr/local/bin/fence'], environment: ['AWS_PROFILE'] }],
  [
    'a fence of databases in Kubernetes',
    fence,
    {
      kind: 'kubernetes',
      sites: { primary: { cluster: { kubeconfig: '/k', namespace: 'n' }, stores: { orders: ['orders-db'] } } },
    },
  ],
  ['a topic', notify, { kind: 'sns', topicArn: 'arn:aws:sns:us-east-1:123456789012:ultramarket-backup-alerts' }],
  ['mail over port 465', notify, { ...mail, port: 465, security: 'tls', user: 'u', password: token }],
  ['metrics', metrics, { cloudwatch: { namespace: 'UltraMarket/Backup' } }],
])('%s is accepted', (_, schema, value) => {
  expect(issue(schema, value)).toBeNull();
});

test.each([
  ['a literal secret', services, { kind: 'process', url: 'http://h:1', token: 'x' }, /^token: .*reference to a secret/],
  ['a URL of another kind', services, { kind: 'process', url: 'file:///etc/passwd', token }, /^url/],
  [
    'neither kubeconfig nor cluster',
    services,
    { kind: 'kubernetes', sites: { dr: { namespace: 'n' } } },
    /^sites\.dr: name either/,
  ],
  [
    'both of them',
    services,
    { kind: 'kubernetes', sites: { dr: { namespace: 'n', kubeconfig: '/k', inCluster: true } } },
    /name either/,
  ],
  [
    'a namespace that is none',
    services,
    { kind: 'kubernetes', sites: { dr: { namespace: 'A b', inCluster: true } } },
    /namespace/,
  ],
  ['a misspelt key', zone, { kind: 'route53', zoneId: 'Z1', reigon: 'eu-west-1' }, /reigon/],
  ['an empty command', fence, { kind: 'command', argv: [] }, /^argv/],
  ['a variable with a value', fence, { kind: 'command', argv: ['f'], environment: ['TOKEN=abc'] }, /^environment\.0/],
  [
    'a store without a StatefulSet',
    fence,
    {
      kind: 'kubernetes',
      sites: { primary: { cluster: { inCluster: true, namespace: 'n' }, stores: { orders: [] } } },
    },
    /^sites\.primary\.stores\.orders/,
  ],
  ['no topic', notify, { kind: 'sns', topicArn: 'ultramarket-backup-alerts' }, /ARN/],
  [
    'a password without encryption',
    notify,
    { ...mail, security: 'none', user: 'u', password: token },
    /^security: a password is not sent/,
  ],
  ['a user without a password', notify, { ...mail, user: 'u' }, /^password: .*together/],
  ["AWS's own namespace", metrics, { cloudwatch: { namespace: 'AWS/EC2' } }, /namespace/],
])('%s is refused with its field', (_, schema, value, says) => {
  expect(issue(schema, value)).toMatch(says);
});
