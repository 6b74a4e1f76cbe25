import * as dgram from 'node:dgram';
import * as http from 'node:http';
import * as https from 'node:https';
import * as packet from 'dns-packet';
import { createPublicProbe } from '../../adapters/traffic';
import { findNameServers } from '../../adapters/traffic/name-servers';
import { hasValues, type EndpointCheck, type PublicProbe } from '../../core/traffic';
import { startNameServer, type NameServer } from '../../lab/dns/name-server';
import type { Zone } from '../../lab/dns/zone';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { testContext } from '../support/call-context';
import { selfSigned } from '../support/certificate';

const DNS_PORT = 5353;
const WEB_PORT = 8080;
const ctx = testContext();

/** What a site's web server saw, so that tests can tell what was really sent and where. */
interface Site {
  readonly host: string;
  readonly seen: http.IncomingMessage[];
  readonly connections: () => number;
  stop(): Promise<void>;
}

async function startSite(handler: http.RequestListener, tls?: { key: string; cert: string }): Promise<Site> {
  const host = await freeLoopbackHost(WEB_PORT);
  const seen: http.IncomingMessage[] = [];
  let connections = 0;
  const listener: http.RequestListener = (request, response) => {
    seen.push(request);
    handler(request, response);
  };
  const server = tls ? https.createServer(tls, listener) : http.createServer(listener);
  server.on('connection', () => (connections += 1));
  await new Promise<void>((resolve) => server.listen(WEB_PORT, host, resolve));
  const stop = async () => {
    server.closeAllConnections();
    await new Promise<void>((resolve) => server.close(() => resolve()));
  };
  return { host, seen, connections: () => connections, stop };
}

let nameServer: NameServer;
let dnsAddress: string;
let probe: PublicProbe;
let primary: Site;
let dr: Site;
const served: { zone: Zone } = { zone: { name: 'ultramarket.com', records: [] } };
let drAnswers: http.RequestListener = (_, response) => response.end('ok');

function publish(...records: [name: string, type: string, ...values: string[]][]): void {
  const sets = records.map(([name, type, ...values]) => ({ name, type, ttlSeconds: 60, values }));
  served.zone = { name: 'ultramarket.com', records: sets };
}

const check = (path: string, more: Partial<EndpointCheck> = {}): EndpointCheck => ({
  url: `http://api.ultramarket.com:${WEB_PORT}${path}`,
  method: 'GET',
  expectStatus: 200,
  timeoutMilliseconds: 2_000,
  ...more,
});

beforeAll(async () => {
  const host = await freeLoopbackHost(DNS_PORT);
  nameServer = await startNameServer(host, DNS_PORT, served);
  dnsAddress = `${host}:${DNS_PORT}`;
  probe = createPublicProbe({ nameServers: [dnsAddress], queryTimeoutSeconds: 1 });
  primary = await startSite((_, response) => response.end('primary'));
  dr = await startSite((request, response) => drAnswers(request, response));
});
beforeEach(() => {
  drAnswers = (_, response) => void response.end('ok');
  publish(['api.ultramarket.com', 'A', dr.host]);
});
afterAll(async () => Promise.all([nameServer?.stop(), primary?.stop(), dr?.stop()]));

describe('a request through the public name', () => {
  test('goes to the address that the name has now, on a new connection each time', async () => {
    publish(['api.ultramarket.com', 'A', primary.host]);
    await expect(probe.endpoint(check('/health'), ctx)).resolves.toMatchObject({ ok: true, address: primary.host });
    publish(['api.ultramarket.com', 'A', dr.host]);
    const before = dr.connections();
    for (const round of [1, 2]) {
      const result = await probe.endpoint(check('/v2/products?page=2'), ctx);
      expect(result).toEqual({
        url: `http://api.ultramarket.com:${WEB_PORT}/v2/products?page=2`,
        method: 'GET',
        ok: true,
        status: 200,
        milliseconds: expect.any(Number) as number,
        address: dr.host,
        problem: null,
      });
      expect(dr.connections()).toBe(before + round);
    }
    const sent = dr.seen.at(-1);
    expect(sent?.url).toBe('/v2/products?page=2');
    expect(sent?.headers.host).toBe(`api.ultramarket.com:${WEB_PORT}`);
    expect(sent?.headers.connection).toBe('close');
  });

  test('follows a CNAME inside the zone', async () => {
    publish(['api.ultramarket.com', 'CNAME', 'dr.ultramarket.com'], ['dr.ultramarket.com', 'A', dr.host]);
    await expect(probe.endpoint(check('/health'), ctx)).resolves.toMatchObject({ ok: true, address: dr.host });
  });

  test('posts without a body', async () => {
    await expect(probe.endpoint(check('/v2/auth/login', { method: 'POST' }), ctx)).resolves.toMatchObject({ ok: true });
    expect(dr.seen.at(-1)).toMatchObject({ method: 'POST', url: '/v2/auth/login' });
  });

  test('another status than expected is a no with its reason; a redirect is a status like any other', async () => {
    drAnswers = (_, response) => void response.writeHead(503).end('no store');
    await expect(probe.endpoint(check('/health'), ctx)).resolves.toMatchObject({
      ok: false,
      status: 503,
      problem: 'answered 503, expected 200',
    });
    await expect(probe.endpoint(check('/health', { expectStatus: 503 }), ctx)).resolves.toMatchObject({ ok: true });
    drAnswers = (_, response) =>
      void response.writeHead(302, { location: `http://${primary.host}:${WEB_PORT}/` }).end();
    const before = primary.connections();
    await expect(probe.endpoint(check('/health'), ctx)).resolves.toMatchObject({ ok: false, status: 302 });
    expect(primary.connections()).toBe(before);
  });

  test('a name without an address is a no that says what each server said', async () => {
    publish();
    const result = await probe.endpoint(check('/health'), ctx);
    expect(result).toMatchObject({ ok: false, status: null, address: null });
    expect(result.problem).toContain(`${dnsAddress}: answers NXDOMAIN for api.ultramarket.com`);
  });
});

describe('a request at a given address', () => {
  test('does not care what the name says', async () => {
    const result = await probe.endpointAt(primary.host, check('/health'), ctx);
    expect(result).toMatchObject({ ok: true, address: primary.host });
    expect(primary.seen.at(-1)?.headers.host).toBe(`api.ultramarket.com:${WEB_PORT}`);
  });

  test('nobody there is a no, not an error', async () => {
    const result = await probe.endpointAt(await freeLoopbackHost(WEB_PORT), check('/health'), ctx);
    expect(result).toMatchObject({ ok: false, status: null });
    expect(result.problem).toContain('ECONNREFUSED');
  });

  test.each([
    ['that never answers', () => {}, null],
    [
      'that stops after the headers',
      (_: unknown, response: http.ServerResponse) => response.writeHead(200).flushHeaders(),
      200,
    ],
    ['that trickles its body for ever', (_: unknown, response: http.ServerResponse) => trickle(response), 200],
  ])('a server %s is a no at the deadline', async (_, handler: http.RequestListener, status) => {
    drAnswers = handler;
    const result = await probe.endpointAt(dr.host, check('/health', { timeoutMilliseconds: 500 }), ctx);
    expect(result).toMatchObject({ ok: false, status, problem: 'no complete answer within 0.5 s' });
    expect(result.milliseconds).toBeGreaterThanOrEqual(490);
    expect(result.milliseconds).toBeLessThan(1_500);
  });

  test('a server that dies in the middle of its answer is a no', async () => {
    drAnswers = (_, response) => {
      response.writeHead(200, { 'content-length': 100 });
      response.write('half', () => response.destroy());
    };
    await expect(probe.endpointAt(dr.host, check('/health'), ctx)).resolves.toMatchObject({ ok: false, status: 200 });
  });

  test('a cancelled probe throws the reason of the cancellation', async () => {
    const reason = new Error('cancelled');
    const abort = new AbortController();
    drAnswers = () => abort.abort(reason);
    await expect(probe.endpointAt(dr.host, check('/health'), testContext(abort.signal))).rejects.toBe(reason);
  });
});

describe('https', () => {
  let secure: Site;
  const { key, cert: authority } = selfSigned('api.ultramarket.com');
  beforeAll(async () => {
    secure = await startSite((_, response) => response.end('ok'), { key, cert: authority });
  });
  afterAll(async () => secure?.stop());

  const secureCheck = (name: string) => check('', { url: `https://${name}:${WEB_PORT}/health` });

  test('the certificate is checked against the name of the URL, whatever the address', async () => {
    const trusting = createPublicProbe({ nameServers: [dnsAddress], certificateAuthorities: authority });
    await expect(trusting.endpointAt(secure.host, secureCheck('api.ultramarket.com'), ctx)).resolves.toMatchObject({
      ok: true,
    });
    const other = await trusting.endpointAt(secure.host, secureCheck('shop.ultramarket.com'), ctx);
    expect(other).toMatchObject({ ok: false, status: null });
    expect(other.problem).toContain('shop.ultramarket.com');
    const address = await trusting.endpointAt(secure.host, secureCheck(secure.host), ctx);
    expect(address).toMatchObject({ ok: false, status: null });
    publish(['api.ultramarket.com', 'A', secure.host]);
    await expect(trusting.endpoint(secureCheck('api.ultramarket.com'), ctx)).resolves.toMatchObject({ ok: true });
  });

  test('an unknown authority is a no', async () => {
    const result = await probe.endpointAt(secure.host, secureCheck('api.ultramarket.com'), ctx);
    expect(result).toMatchObject({ ok: false, status: null });
    expect(result.problem).toContain('self-signed');
  });
});

describe('questions to the authoritative servers', () => {
  test('an answer too long for UDP comes over TCP, whole', async () => {
    const values = Array.from({ length: 80 }, (_, index) => `10.0.2.${index}`);
    publish(['api.ultramarket.com', 'A', ...values]);
    const [answer] = await probe.authoritative('api.ultramarket.com', 'A', ctx);
    expect(answer?.problem).toBeNull();
    expect(hasValues(answer!, 'A', values)).toBe(true);
  });

  test('values are compared as DNS means them, not as text', async () => {
    publish(['api.ultramarket.com', 'CNAME', 'DR.ultramarket.net.'], ['six.ultramarket.com', 'AAAA', '2001:db8::1']);
    const [alias] = await probe.authoritative('api.ultramarket.com', 'CNAME', ctx);
    expect(hasValues(alias!, 'CNAME', ['dr.UltraMarket.net.'])).toBe(true);
    expect(hasValues(alias!, 'CNAME', ['primary.ultramarket.net'])).toBe(false);
    const [six] = await probe.authoritative('six.ultramarket.com', 'AAAA', ctx);
    expect(hasValues(six!, 'AAAA', ['2001:0DB8:0:0::1'])).toBe(true);
    expect(hasValues(six!, 'AAAA', ['2001:db8::1', '2001:db8::2'])).toBe(false);
    expect(hasValues({ ...six!, problem: 'is not authoritative' }, 'AAAA', ['2001:db8::1'])).toBe(false);
  });

  test.each([
    ['a forged answer with another id', (reply: packet.Packet) => ({ ...reply, id: ((reply.id ?? 0) + 1) % 65_536 })],
    [
      'an answer to another question',
      (reply: packet.Packet) => ({ ...reply, questions: [{ type: 'A' as const, name: 'evil.example' }] }),
    ],
  ])('%s is ignored and the true one is taken', async (_, forge) => {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (message, from) => {
      const { id, questions } = packet.decode(message);
      const reply = (data: string): packet.Packet => ({
        type: 'response',
        id,
        flags: packet.AUTHORITATIVE_ANSWER,
        questions,
        answers: [{ type: 'A', name: 'api.ultramarket.com', ttl: 60, data }],
      });
      socket.send(packet.encode(forge(reply('6.6.6.6'))), from.port, from.address);
      socket.send(Buffer.from('not DNS'), from.port, from.address);
      socket.send(packet.encode(reply('10.0.2.100')), from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    try {
      const asked = createPublicProbe({ nameServers: [`127.0.0.1:${socket.address().port}`] });
      await expect(asked.authoritative('api.ultramarket.com', 'A', ctx)).resolves.toMatchObject([
        { values: ['10.0.2.100'], problem: null },
      ]);
    } finally {
      socket.close();
    }
  });

  test('a server that is not authoritative (a cache) does not count, whatever it answers', async () => {
    const socket = dgram.createSocket('udp4');
    socket.on('message', (message, from) => {
      const { id, questions } = packet.decode(message);
      const answers = [{ type: 'A' as const, name: 'api.ultramarket.com', ttl: 60, data: '10.0.2.100' }];
      socket.send(packet.encode({ type: 'response', id, questions, answers }), from.port, from.address);
    });
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    try {
      const cache = createPublicProbe({ nameServers: [`127.0.0.1:${socket.address().port}`] });
      const [answer] = await cache.authoritative('api.ultramarket.com', 'A', ctx);
      expect(answer?.problem).toBe('is not authoritative for api.ultramarket.com (NOERROR)');
      expect(hasValues(answer!, 'A', ['10.0.2.100'])).toBe(false);
      await expect(cache.endpoint(check('/health'), ctx)).resolves.toMatchObject({ ok: false, address: null });
    } finally {
      socket.close();
    }
  });

  test('without configured servers those of the closest parent with NS records are found, never above two labels', async () => {
    publish(
      ['ultramarket.com', 'NS', 'ns-1.ultramarket.net.', 'ns-2.ultramarket.net.'],
      ['api.ultramarket.com', 'A', '10.0.2.100'],
    );
    const options = { timeoutMilliseconds: 1_000, resolvers: [dnsAddress] };
    const found = await findNameServers('v2.api.UltraMarket.com.', options);
    expect(found.map(({ label }) => label).toSorted()).toEqual(['ns-1.ultramarket.net:53', 'ns-2.ultramarket.net:53']);
    const lost = createPublicProbe({ nameServers: [], delegationResolvers: [dnsAddress], queryTimeoutSeconds: 1 });
    const [answer] = await lost.authoritative('api.example.org', 'A', ctx);
    expect(answer).toMatchObject({ server: 'delegation', values: [] });
    expect(answer?.problem).toContain('no name servers found for api.example.org');
  });

  test('a lost question is asked again; a server that stays silent is a problem in time', async () => {
    let asked = 0;
    const socket = dgram.createSocket('udp4').on('message', () => (asked += 1));
    await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
    try {
      const nameServers = [`127.0.0.1:${socket.address().port}`];
      const silent = createPublicProbe({ nameServers, queryTimeoutSeconds: 0.4 });
      const startedAt = performance.now();
      const [answer] = await silent.authoritative('api.ultramarket.com', 'A', ctx);
      expect(answer?.problem).toBe('no answer within 0.4 s');
      expect(performance.now() - startedAt).toBeLessThan(1_500);
      expect(asked).toBe(2);
    } finally {
      socket.close();
    }
  });
});

function trickle(response: http.ServerResponse): void {
  response.writeHead(200);
  const timer = setInterval(() => response.write('.'), 50);
  response.on('close', () => clearInterval(timer));
}
