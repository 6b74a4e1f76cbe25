import {
  type AccessRule,
  fencedBy,
  ownRules,
  withFence,
  withoutFence,
} from '../../adapters/engines/postgresql/access-rules';

const FILE = '# TYPE  DATABASE  USER\r\nlocal all all peer\nhost  all  all  10.0.0.0/8  scram-sha-256 # caf\xe9';
const ours = ['host "postgres" "drctl" 10.0.0.0 255.0.0.0 scram-sha-256'];

const rule = (change: Partial<AccessRule> = {}): AccessRule => ({
  line_number: 1,
  type: 'host',
  database: ['all'],
  user_name: ['all'],
  address: '10.0.0.0',
  netmask: '255.0.0.0',
  auth_method: 'scram-sha-256',
  options: null,
  ...change,
});
const account = { database: 'postgres', user: 'drctl' };

test('a file is fenced at its top, for a newer epoch too, and comes back byte by byte', () => {
  const fenced = withFence(FILE, 5, ours);
  expect(fenced.split('\n').slice(0, 5)).toEqual([
    expect.stringMatching(/^# drctl fence, epoch 5\. To lift it by hand/),
    ...ours,
    'local all all reject',
    'host all all all reject',
    '# drctl fence ends here',
  ]);
  expect([fencedBy(FILE), fencedBy(fenced)]).toEqual([null, 5]);
  expect(withoutFence(fenced)).toBe(FILE);
  expect(withoutFence(FILE)).toBe(FILE);
  const newer = withFence(fenced, 12, ['host "other" "rules" all trust']);
  expect([fencedBy(newer), withoutFence(newer)]).toEqual([12, FILE]);
  expect(newer).toBe(fenced.replace('epoch 5.', 'epoch 12.'));
});

test('only what admits our account into our database stays, narrowed to the two, in its order', () => {
  const rules = [
    rule({ type: 'local', address: null, netmask: null, auth_method: 'peer', options: ['map=a "b"'] }),
    rule({ database: ['replication'] }),
    rule({ database: ['shop'] }),
    rule({ user_name: ['shop', 'app'] }),
    rule({ type: 'hostssl', database: ['shop', 'postgres'], user_name: ['drctl'], address: 'all', netmask: null }),
    rule({ database: ['sameuser'] }),
    rule({ user_name: ['+admins'], database: ['shop'] }),
    rule(),
  ];
  expect(ownRules(rules, account)).toEqual([
    'local "postgres" "drctl" peer map="a ""b"""',
    'hostssl "postgres" "drctl" all scram-sha-256',
    ...ours,
  ]);
  expect(ownRules([rule({ database: ['sameuser'] })], { database: 'drctl', user: 'drctl' })).toEqual([
    'host "drctl" "drctl" 10.0.0.0 255.0.0.0 scram-sha-256',
  ]);
});

test.each([
  ['a group of users', { user_name: ['+admins'] }],
  ['an expression', { user_name: ['/^dr'] }],
  ['a database by role', { database: ['samerole'] }],
])('of %s it is not clear whether we are meant', (_, change) => {
  expect(ownRules([rule({ line_number: 7, ...change }), rule({ line_number: 9 })], account)).toBe(7);
});
