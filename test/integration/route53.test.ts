import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { createServer } from 'node:http';
import { ChangeResourceRecordSetsCommand, ListResourceRecordSetsCommand } from '@aws-sdk/client-route-53';
import { createPublicProbe } from '../../adapters/traffic';
import type { DnsZone, PublicProbe } from '../../core/traffic';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { testContext } from '../support/call-context';
import { expectFailure } from '../support/expect-failure';
import { DNS_PORT, route53Zone, type ServedZone, serveZone, zoneKeys } from '../support/route53-zone';
import { waitUntil } from '../support/servers';

const NAME = 'api.ultramarket.com';
const SLOWER_MS = 1_200;
const ctx = testContext();

let served: ServedZone;
let zone: DnsZone;
let probe: PublicProbe;

const zoneAt = (endpoint: string, id = served.zoneId, timeoutSeconds = 10) => route53Zone(endpoint, id, timeoutSeconds);

/** The emulator knows no rights: before it stands what answers some methods as Route 53 answers who lacks one. */
async function refuseOver(endpoint: string, refuses: (method: string) => boolean) {
  const server = createServer((request, response) => {
    if (refuses(request.method ?? '')) {
      request.resume();
      response.writeHead(403, { 'content-type': 'text/xml' });
      response.end(
        '<?xml version="1.0"?><ErrorResponse xmlns="https://route53.amazonaws.com/doc/2013-04-01/"><Error><Type>Sender</Type>' +
          '<Code>AccessDenied</Code><Message>User is not authorized to perform: route53:ChangeResourceRecordSets</Message>' +
          '</Error><RequestId>1</RequestId></ErrorResponse>',
      );
      return;
    }
    // The emulator tells services apart by who signs.
    const headers = { authorization: request.headers.authorization ?? '' };
    const handOn = async () => {
      const answer = await fetch(new URL(request.url ?? '/', endpoint), { headers });
      response.writeHead(answer.status, { 'content-type': answer.headers.get('content-type') ?? 'text/xml' });
      response.end(await answer.text());
    };
    void handOn();
  });
  const host = await freeLoopbackHost(5000);
  await new Promise<void>((resolve) => server.listen(5000, host, resolve));
  return {
    endpoint: `http://${host}:5000`,
    stop: () => new Promise<void>((resolve) => void server.close(() => resolve())),
  };
}

beforeAll(async () => {
  served = await serveZone('ultramarket.com', [0, SLOWER_MS]);
  ({ zone } = served);
  probe = createPublicProbe({ nameServers: [...served.nameServers], queryTimeoutSeconds: 1 });
});

afterAll(() => served?.stop());

test('a record that is not there is null; once set it is read back, whatever the case and the dot of its name', async () => {
  await expect(zone.record('absent.ultramarket.com', 'A', ctx)).resolves.toBeNull();
  await zone.upsert({ name: 'WWW.ultramarket.com.', type: 'A', ttlSeconds: 60, values: ['10.0.1.100'] }, ctx);
  for (const name of ['www.ultramarket.com', 'www.UltraMarket.com.']) {
    await expect(zone.record(name, 'A', ctx)).resolves.toEqual({
      name,
      type: 'A',
      ttlSeconds: 60,
      values: ['10.0.1.100'],
    });
  }
  await expect(zone.record('www.ultramarket.com', 'AAAA', ctx)).resolves.toBeNull();
  // The name before it in the zone's order: a listing that starts there begins with the other record.
  await expect(zone.record('a.www.ultramarket.com', 'A', ctx)).resolves.toBeNull();
});

test.each([
  ['A', ['10.0.1.100', '10.0.1.101']],
  ['AAAA', ['2001:db8::1']],
  ['CNAME', ['dr.ultramarket.net.']],
] as const)('UPSERT creates, repeats and replaces %s records', async (type, values) => {
  const name = `${type.toLowerCase()}.ultramarket.com`;
  const record = { name, type, ttlSeconds: 60, values };
  for (const wanted of [record, record, { ...record, ttlSeconds: 30 }]) {
    const change = await zone.upsert(wanted, ctx);
    expect(change).toMatch(/^[A-Z0-9]+$/i);
    await expect(zone.inSync(change, ctx)).resolves.toBe(true);
    await expect(zone.record(name, type, ctx)).resolves.toEqual(wanted);
  }
});

test('the right to change a record is asked for without changing it', async () => {
  for (const [type, value] of [
    ['A', '10.0.1.100'],
    ['CNAME', 'dr.ultramarket.net.'],
  ] as const) {
    const record = { name: `rehearsed-${type.toLowerCase()}.ultramarket.com`, type, ttlSeconds: 60, values: [value] };
    await zone.upsert(record, ctx);
    await zone.rehearse(record, ctx);
    await expect(zone.record(record.name, type, ctx)).resolves.toEqual(record);
  }
});

test('an account that may read the zone and not change it is found out', async () => {
  const record = { name: NAME, type: 'A', ttlSeconds: 60, values: ['10.0.1.100'] } as const;
  const refusing = await refuseOver(served.moto.endpoint, (action) => action === 'POST');
  try {
    const reading = zoneAt(refusing.endpoint);
    await zone.upsert(record, ctx);
    await expect(reading.record(NAME, 'A', ctx)).resolves.toEqual(record);
    await expectFailure(reading.rehearse(record, ctx), 'AccessDenied', 'the right to change');
  } finally {
    await refusing.stop();
  }
});

test('an alias or a weighted record is refused and stays as it is', async () => {
  const ResourceRecordSet = {
    Name: 'weighted.ultramarket.com',
    Type: 'A' as const,
    SetIdentifier: 'primary',
    Weight: 10,
    TTL: 60,
    ResourceRecords: [{ Value: '10.0.1.100' }],
  };
  const ChangeBatch = { Changes: [{ Action: 'CREATE' as const, ResourceRecordSet }] };
  await served.aws.send(new ChangeResourceRecordSetsCommand({ HostedZoneId: served.zoneId, ChangeBatch }));
  const wanted = { name: 'weighted.ultramarket.com', type: 'A', ttlSeconds: 60, values: ['10.0.2.100'] } as const;
  await expectFailure(zone.upsert(wanted, ctx), 'ConfigInvalid', 'one of several weighted or routed records');
  const { ResourceRecordSets = [] } = await served.aws.send(
    new ListResourceRecordSetsCommand({ HostedZoneId: served.zoneId }),
  );
  const left = ResourceRecordSets.filter(({ Name }) => Name === 'weighted.ultramarket.com.');
  expect(left).toMatchObject([{ SetIdentifier: 'primary', ResourceRecords: [{ Value: '10.0.1.100' }] }]);
});

test('an unknown zone, nobody there and a silent peer are told apart', async () => {
  const record = { name: NAME, type: 'A', ttlSeconds: 60, values: ['10.0.2.100'] } as const;
  await expectFailure(zoneAt(served.moto.endpoint, 'ZNOSUCHZONE').upsert(record, ctx), 'NotFound', 'ZNOSUCHZONE');
  const nobody = zoneAt(`http://${await freeLoopbackHost(5000)}:5000`);
  const refused = await expectFailure(nobody.upsert(record, ctx), 'TargetUnreachable', 'ECONNREFUSED');
  expect(refused.nonRetryable).toBe(false);
  expect(JSON.stringify([refused, refused.message])).not.toContain(zoneKeys.secretAccessKey);
  await served.moto.server.kill('SIGSTOP');
  try {
    const startedAt = performance.now();
    await expectFailure(
      zoneAt(served.moto.endpoint, served.zoneId, 1).record(NAME, 'A', ctx),
      'TargetUnreachable',
      'no answer within 1 s',
    );
    expect(performance.now() - startedAt).toBeLessThan(4_000);
  } finally {
    await served.moto.server.kill('SIGCONT');
  }
});

test('a change is seen at each authoritative server when that server has it, not when the control plane says INSYNC', async () => {
  const record = (value: string) => ({ name: NAME, type: 'A' as const, ttlSeconds: 60, values: [value] });
  const answers = async () => (await probe.authoritative(NAME, 'A', ctx)).map(({ values }) => values.join());
  const everywhere = (value: string) => async () => (await answers()).every((each) => each === value);
  await zone.upsert(record('10.0.1.100'), ctx);
  await waitUntil('both servers naming the primary', everywhere('10.0.1.100'));

  const change = await zone.upsert(record('10.0.2.100'), ctx);
  await expect(zone.inSync(change, ctx)).resolves.toBe(true);
  await waitUntil('the quick server naming the DR site', async () => (await answers())[0] === '10.0.2.100', {
    intervalMs: 20,
  });
  await expect(answers()).resolves.toEqual(['10.0.2.100', '10.0.1.100']);
  await waitUntil('both servers naming the DR site', everywhere('10.0.2.100'));
  await expect(probe.authoritative(NAME, 'A', ctx)).resolves.toEqual(
    served.nameServers.map((server) => ({ server, values: ['10.0.2.100'], ttlSeconds: 60, problem: null })),
  );
});

test('a server that is down is told beside the one that answers', async () => {
  const closed = `${await freeLoopbackHost(DNS_PORT)}:${DNS_PORT}`;
  const halfDead = createPublicProbe({ nameServers: [closed, served.nameServers[0] ?? ''], queryTimeoutSeconds: 1 });
  const [dead, alive] = await halfDead.authoritative('www.ultramarket.com', 'A', ctx);
  expect(dead).toMatchObject({ server: closed, values: [] });
  expect(dead?.problem).toMatch(/ECONNREFUSED|no answer within 1 s/);
  expect(alive).toMatchObject({ values: ['10.0.1.100'], problem: null });
});

test('names that do not exist, have another type or lie in another zone are told as problems', async () => {
  const problemOf = async (name: string, type: 'A' | 'AAAA') =>
    (await probe.authoritative(name, type, ctx))[0]?.problem;
  await expect(problemOf('absent.ultramarket.com', 'A')).resolves.toMatch(/NXDOMAIN/);
  await expect(problemOf('www.ultramarket.com', 'AAAA')).resolves.toBe('has no AAAA record for www.ultramarket.com');
  await expect(problemOf('www.example.org', 'A')).resolves.toMatch(/not authoritative|REFUSED/);
});

/** IAM's own form of a request; the emulator reads the scope of the signature and does not check it. */
async function createPolicy(name: string, document: string): Promise<{ status: number; text: string }> {
  const scope = 'Credential=test/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0';
  const response = await fetch(served.moto.endpoint, {
    method: 'POST',
    headers: { Authorization: `AWS4-HMAC-SHA256 ${scope}` },
    body: new URLSearchParams({
      ...{ Action: 'CreatePolicy', Version: '2010-05-08', PolicyName: name, PolicyDocument: document },
    }),
  });
  return { status: response.status, text: await response.text() };
}

test.each(readdirSync('deploy/aws'))('IAM takes deploy/aws/%s, and not one with a mistake', async (file) => {
  const document = readFileSync(join('deploy/aws', file), 'utf8');
  const name = file.replace('.json', '');
  expect(await createPolicy(name, document)).toMatchObject({ status: 200 });
  const wrong = await createPolicy(`${name}-wrong`, document.replace('"Action"', '"Actions"'));
  expect(wrong).toMatchObject({ status: 400, text: expect.stringContaining('MalformedPolicyDocument') as string });
});
