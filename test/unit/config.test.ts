import { readFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { toApplication } from '../../config/application';
import { configJsonSchema } from '../../config/json-schema';
import { loadConfig, parseConfig } from '../../config/load';
import { secretReferences } from '../../config/secret-input';
import { findFailure } from '../../core/errors';

const EXAMPLE = 'config/examples/ultramarket.yaml';
const example = readFileSync(EXAMPLE, 'utf8');

/** The example with one change; fails when the change hits nothing. */
function changed(from: string | RegExp, to: string): string {
  const text = example.replace(from, to);
  if (text === example) throw new Error(`the example does not hold ${from}`);
  return text;
}

function problemOf(text: string): string {
  let found: ReturnType<typeof findFailure> = null;
  try {
    parseConfig(text, '/etc/drctl/shop.yaml');
  } catch (error) {
    found = findFailure(error);
  }
  if (found?.code !== 'ConfigInvalid') throw new Error('it was accepted');
  return found.message;
}

test('the example carries the values of the strategy', () => {
  const config = loadConfig(EXAMPLE);
  const application = toApplication(config);
  expect(application.objectives).toEqual({ rtoSeconds: 4 * 3_600, rpoSeconds: 15 * 60 });
  expect(application.serviceGroups.flatMap(({ services }) => services)).toEqual(
    ['auth', 'user', 'product', 'order', 'payment', 'cart'].map((name) => ({ name: `${name}-service`, replicas: 3 })),
  );
  expect(application.dns).toEqual([
    {
      name: 'api.ultramarket.com',
      type: 'A',
      ttlSeconds: 60,
      valuesBySite: { primary: ['10.0.1.100'], dr: ['10.0.2.100'] },
    },
  ]);
  expect(application.endpoints.map(({ url, timeoutMilliseconds }) => [url, timeoutMilliseconds])).toEqual([
    ['https://api.ultramarket.com/health', 30_000],
    ['https://api.ultramarket.com/v2/auth/login', 30_000],
    ['https://api.ultramarket.com/v2/products', 30_000],
  ]);
  expect(config.dns?.zone).toMatchObject({ kind: 'route53', zoneId: 'Z123456789' });
  expect(config.retention).toMatchObject({
    databaseFull: { local: { text: '7d' }, cloud: { text: '30d' }, archive: { seconds: 2555 * 86_400 } },
    configuration: { archive: { seconds: null } },
  });
  expect(
    Object.fromEntries(Object.entries(config.schedules.runs).map(([name, run]) => [name, run.cron])),
  ).toMatchObject({
    full: '0 2 * * *',
    incremental: '0 */4 * * *',
    verify: '30 4 * * *',
    'restore-test': '0 5 * * 6',
    copies: '*/5 * * * *',
    drill: '0 1 1 * *',
  });
  expect(config.monitoring.backupMaxAge.seconds).toBe(25 * 3_600);
  expect(config.monitoring.proofMaxAge?.seconds).toBe(8 * 86_400);
});

test.each([
  [
    'a misspelt key',
    'port: 5432',
    'prot: 5432',
    ['stores.orders-db.sites.primary.prot: is not a key', 'did you mean "port"'],
  ],
  ['a wrong type', 'port: 5432', 'port: x', ['stores.orders-db.sites.primary.port', '"x"', 'a number']],
  [
    'an unknown engine',
    'engine: postgresql',
    'engine: postgres',
    ['stores.orders-db.engine', '"postgresql"', 'mongodb'],
  ],
  ['an unknown kind', 'kind: s3', 'kind: S3', ['repositories.cloud.kind', '"S3"', 'allowed: local, s3']],
  ['a bad duration', 'rto: 4h', 'rto: 4 hours', ['objectives.rto', '"4 hours"', 'such as 15m']],
  ['a bad size', 'volumeSize: 128MiB', 'volumeSize: 128MB', ['backup.volumeSize', '"128MB"', 'such as 128MiB']],
  ['a copy to nowhere', 'offsite: { maxLag', 'offsit: { maxLag', ['copies.offsit', 'no repository is called "offsit"']],
  ['a copy of what lives there', 'offsite: { maxLag', 'cloud: { maxLag', ['copies.cloud', 'lives in "cloud" already']],
  ['a bad cron line', "'0 2 * * *'", "'0 25 * * *'", ['schedules.runs.full.cron', 'minute hour day']],
  ['an ambiguous cron line', "'0 2 * * *'", "'0 2 1 * 1'", ['schedules.runs.full.cron', 'cannot both be restricted']],
  ['a bad time to keep', '7y', '7 years', ['retention.databaseFull.archive', '"7 years"', 'such as 30d']],
  ['a bad time zone', 'timezone: UTC', 'timezone: Mars', ['schedules.timezone', '"Mars"', 'Asia/Tashkent']],
  ['a bad name', 'orders-db:', 'Orders_DB:', ['stores.Orders_DB', '"Orders_DB"', 'a to z']],
  ['a number out of range', 'zstdLevel: 3', 'zstdLevel: 40', ['backup.zstdLevel', '40', 'at most 19']],
  ['a missing value', 'initialSite: primary', '', ['initialSite', 'is missing']],
  ['an undeclared site', 'initialSite: primary', 'initialSite: prime', ['initialSite', '"prime"', 'primary, dr']],
  [
    'an undeclared repository',
    'repository: cloud',
    'repository: clod',
    ['repository', '"clod"', 'cloud, offsite, cdn'],
  ],
  ['a mirror to nowhere', 'repository: cdn', 'repository: cd', ['stores.application.mirrors.0.to.repository', '"cd"']],
  [
    'an undeclared store',
    'stores: [configuration]',
    'stores: [konf]',
    ['schedules.runs.configuration.stores.0', '"konf"'],
  ],
  [
    'an address of the wrong kind',
    'dr: [10.0.2.100]',
    "dr: ['2001:db8::1']",
    ['dns.records.0.values.dr.0', '"2001:db8::1"', 'IPv4'],
  ],
  ['a CNAME to an address', 'type: A', 'type: CNAME', ['dns.records.0.values.primary.0', '"10.0.1.100"', 'host name']],
  ['a TTL in fractions', 'ttl: 60s', 'ttl: 250ms', ['dns.records.0.ttl', 'whole seconds']],
  [
    'a CNAME with two values',
    /type: A\n( +)ttl: 60s\n +values:\n +primary: .*\n +dr: .*/,
    'type: CNAME\n$1ttl: 60s\n$1values: { primary: [a.example.net], dr: [b.example.net, c.example.net] }',
    ['dns.records.0.values.dr', 'exactly one'],
  ],
  [
    'a name with a CNAME and an address',
    '  records:\n    - name: api',
    '  records:\n    - { name: API.ultramarket.com, type: CNAME, ttl: 60s, values: { primary: [a.net], dr: [b.net] } }\n    - name: api',
    ['dns.records.1.name', 'nothing may stand beside a CNAME'],
  ],
  [
    'a record that is there twice',
    '  records:\n    - name: api',
    '  records:\n    - { name: api.ultramarket.com, type: A, ttl: 60s, values: { primary: [10.0.0.1], dr: [10.0.0.2] } }\n    - name: api',
    ['dns.records.1.name', 'is there twice'],
  ],
  [
    'a resolver without a port',
    '  zone:\n    kind: route53',
    '  resolvers: [1.1.1.1]\n  zone:\n    kind: route53',
    ['dns.resolvers.0', '"1.1.1.1"', 'host:port'],
  ],
  [
    'a fence of a store that is none',
    '  kind: command\n  argv: [/etc/drctl/fence-site]',
    '  kind: kubernetes\n  sites: { primary: { cluster: { inCluster: true, namespace: n }, stores: { orders: [o] } } }',
    ['fence.sites.primary.stores.orders', '"orders"', 'orders-db'],
  ],
  ['a site without a DNS value', 'dr: [10.0.2.100]', '', ['dns.records.0.values', 'site "dr"']],
  ['a relative directory', 'directory: /backup\n', 'directory: backup\n', ['spool.directory', '"backup"', './']],
  ['a syntax error', 'application: ultramarket', 'application: [x', []],
  ['a repeated key', 'initialSite: primary', 'initialSite: primary\ninitialSite: dr', ['unique']],
  ['an empty file', /^[^]*$/, '', ['a map']],
])('%s is refused with its file, line, path, value and what is allowed', (_, from, to, parts) => {
  const problem = problemOf(changed(from, to));
  for (const part of ['/etc/drctl/shop.yaml', ...parts]) expect(problem).toContain(part);
});

test('a problem names its line', () => {
  const line = example.split('\n').findIndex((text) => text.includes('port: 5432')) + 1;
  expect(problemOf(changed('port: 5432', 'port: x'))).toContain(`/etc/drctl/shop.yaml:${line} `);
});

test('several problems are all listed', () => {
  expect(problemOf(changed('rto: 4h', 'rto: never').replace('port: 5432', 'prot: 5432'))).toMatch(/has 2 problems/);
});

test('a literal secret is refused and not repeated', () => {
  const problem = problemOf(changed('{ env: ULTRAMARKET_PG_PASSWORD }', 'hunter2'));
  expect(problem).toMatch(/stores\.orders-db\.sites\.primary\.password: holds a secret in clear text.*\{env: NAME\}/);
  expect(problem).not.toContain('hunter2');
});

test('a secret is read when it is needed, from the environment or a file, and is never shown', () => {
  const config = parseConfig(
    changed('{ env: ULTRAMARKET_PG_PASSWORD }', '{ file: ./test-secret-that-is-not-there }'),
    '/etc/drctl/shop.yaml',
  );
  const [fromFile, fromEnvironment] = secretReferences(config.stores['orders-db']?.settings);
  expect(fromFile?.origin).toBe('file /etc/drctl/test-secret-that-is-not-there');
  expect(() => fromFile?.reveal()).toThrow(/orders-db\.sites\.primary\.password.*no such file/);
  expect(() => fromEnvironment?.reveal()).toThrow(/ULTRAMARKET_PG_PASSWORD.*not set/);
  process.env['ULTRAMARKET_PG_PASSWORD'] = 'hunter2';
  try {
    expect(fromEnvironment?.reveal()).toBe('hunter2');
    expect(inspect(config, { depth: null }) + JSON.stringify(config)).not.toContain('hunter2');
  } finally {
    delete process.env['ULTRAMARKET_PG_PASSWORD'];
  }
});

test('a file that is not there is a config error that says how to name one', () => {
  expect(() => loadConfig('/nowhere/drctl.yaml')).toThrow(
    /\/nowhere\/drctl\.yaml cannot be read: there is no such file/,
  );
});

test('the committed JSON Schema is current (npm run config:schema writes it)', () => {
  expect(JSON.parse(readFileSync('config/drctl.schema.json', 'utf8'))).toEqual(
    JSON.parse(JSON.stringify(configJsonSchema())),
  );
});
