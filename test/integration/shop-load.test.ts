import {
  ChangeResourceRecordSetsCommand,
  CreateHostedZoneCommand,
  Route53Client,
  type RRType,
} from '@aws-sdk/client-route-53';
import { decode, encode, streamDecode, streamEncode, type Packet, type Question } from 'dns-packet';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  classify,
  compareOrders,
  readJournal,
  readOrderEventsFromMongo,
  readOrdersFromPostgres,
  summarise,
} from '../../lab/load/journal';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { inPostgres } from '../../lab/servers/postgresql-client';
import { createSchema } from '../../lab/shop/schema';
import { SERVICE_NAMES } from '../../lab/shop/service-names';
import { answersWith, buildPrograms, startProgram, type Program } from '../support/lab-programs';
import { startMongoReplicaSet, startMoto, startPostgres, startRedis, waitUntil } from '../support/servers';

type Started<T extends (...args: never[]) => Promise<unknown>> = Awaited<ReturnType<T>>;

const DELAYS_MS = [400, 1_500];
const DNS_PORT = 5353;
const NAME = 'api.ultramarket.com';

let built: ReturnType<typeof buildPrograms>;
let moto: Started<typeof startMoto>;
let route53: Route53Client;
let zoneId: string;
let dnsHosts: string[];
let dns: Program;

async function change(action: 'UPSERT' | 'DELETE', Name: string, Type: RRType, TTL: number, ...values: string[]) {
  const ResourceRecords = values.map((Value) => ({ Value }));
  const Changes = [{ Action: action, ResourceRecordSet: { Name, Type, TTL, ResourceRecords } }];
  await route53.send(new ChangeResourceRecordSetsCommand({ HostedZoneId: zoneId, ChangeBatch: { Changes } }));
  return performance.now();
}

function resolverAt(index: number): Resolver {
  const resolver = new Resolver({ timeout: 1_000, tries: 2 });
  resolver.setServers([`${dnsHosts[index]}:${DNS_PORT}`]);
  return resolver;
}

async function rawQuery(transport: 'udp' | 'tcp', name: string, type: Question['type']) {
  const query: Packet = { type: 'query', id: 99, questions: [{ name, type }] };
  if (transport === 'udp') {
    const socket = createSocket('udp4');
    socket.send(encode(query), DNS_PORT, dnsHosts[0]);
    const [reply] = (await once(socket, 'message', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
    socket.close();
    return decode(reply);
  }
  const socket = connect(DNS_PORT, dnsHosts[0]);
  // In two pieces, because TCP may cut a query anywhere.
  const message = streamEncode(query);
  socket.setNoDelay(true).write(message.subarray(0, 5));
  setImmediate(() => socket.write(message.subarray(5)));
  const [reply] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
  socket.destroy();
  return streamDecode(reply);
}

beforeAll(async () => {
  built = buildPrograms();
  moto = await startMoto();
  route53 = new Route53Client({
    endpoint: moto.endpoint,
    region: moto.region,
    credentials: { accessKeyId: 'test', secretAccessKey: 'test' },
  });
  const { HostedZone } = await route53.send(
    new CreateHostedZoneCommand({ Name: 'ultramarket.com', CallerReference: 'test' }),
  );
  zoneId = HostedZone!.Id!.replace('/hostedzone/', '');
  await change('UPSERT', NAME, 'A', 60, '127.0.0.9');
  dnsHosts = await Promise.all([freeLoopbackHost(DNS_PORT), freeLoopbackHost(DNS_PORT)]);
  dns = startProgram(join(built.folder, 'lab/dns/main.js'), [], {
    DNS_HOSTS: dnsHosts.join(','),
    DNS_PORT: String(DNS_PORT),
    DNS_ROUTE53_ENDPOINT: moto.endpoint,
    DNS_ZONE_ID: zoneId,
    DNS_DELAY_MS: DELAYS_MS.join(','),
  });
  await waitUntil('the name servers answering', async () => dns.output().includes('"answering"'));
}, 120_000);

afterAll(async () => {
  await dns?.end('SIGKILL');
  route53?.destroy();
  await moto?.stop();
  built?.remove();
});

describe('the name servers', () => {
  test('serve the zone of Route 53 to a resolver', async () => {
    for (const index of [0, 1]) {
      const resolver = resolverAt(index);
      expect(await resolver.resolve4(NAME, { ttl: true })).toEqual([{ address: '127.0.0.9', ttl: 60 }]);
      expect(await resolver.resolve4('API.ultramarket.COM')).toEqual(['127.0.0.9']);
      expect((await resolver.resolveNs('ultramarket.com')).length).toBeGreaterThan(0);
      expect(await resolver.resolveSoa('ultramarket.com')).toMatchObject({ serial: expect.any(Number) });
      await expect(resolver.resolve4('nothing.ultramarket.com')).rejects.toMatchObject({ code: 'ENOTFOUND' });
      await expect(resolver.resolve6(NAME)).rejects.toMatchObject({ code: 'ENODATA' });
    }
  });

  test.each(['udp', 'tcp'] as const)('answer with authority over %s', async (transport) => {
    expect(await rawQuery(transport, NAME, 'A')).toMatchObject({
      id: 99,
      rcode: 'NOERROR',
      flag_aa: true,
      answers: [{ name: NAME, type: 'A', ttl: 60, data: '127.0.0.9' }],
    });
    expect(await rawQuery(transport, `no.${NAME}`, 'A')).toMatchObject({
      rcode: 'NXDOMAIN',
      flag_aa: true,
      authorities: [{ type: 'SOA', name: 'ultramarket.com' }],
    });
    expect(await rawQuery(transport, 'example.com', 'A')).toMatchObject({ rcode: 'REFUSED', flag_aa: false });
  });

  test('show a change each after its own delay, and not before', async () => {
    const changedAtMs = await change('UPSERT', NAME, 'A', 5, '127.0.0.10');
    const seenAfterMs = DELAYS_MS.map(async (_, index) => {
      const resolver = resolverAt(index);
      const seen = async () => (await resolver.resolve4(NAME))[0] === '127.0.0.10';
      await waitUntil(`server ${index} showing the change`, seen, { deadlineMs: 10_000, intervalMs: 20 });
      return performance.now() - changedAtMs;
    });
    const [first = 0, second = 0] = await Promise.all(seenAfterMs);
    expect(first).toBeGreaterThanOrEqual(DELAYS_MS[0]!);
    expect(second).toBeGreaterThanOrEqual(DELAYS_MS[1]!);
    expect(first).toBeLessThan(second);
  });

  test('go on with the zone while Route 53 is away, and follow it again', async () => {
    await moto.server.kill('SIGSTOP');
    expect(await resolverAt(0).resolve4(NAME)).toEqual(['127.0.0.10']);
    await moto.server.kill('SIGCONT');
    await change('UPSERT', `txt.ultramarket.com`, 'TXT', 5, '"a" "b"');
    const seen = async () => (await resolverAt(0).resolveTxt('txt.ultramarket.com'))[0]?.join() === 'a,b';
    await waitUntil('the text being served', seen, { deadlineMs: 20_000 });
    await change('DELETE', `txt.ultramarket.com`, 'TXT', 5, '"a" "b"');
    const gone = () =>
      resolverAt(0)
        .resolveTxt('txt.ultramarket.com')
        .then(
          () => false,
          (error: { code: string }) => error.code === 'ENOTFOUND',
        );
    await waitUntil('the text being gone', gone, { deadlineMs: 20_000 });
  });
});

describe('the load generator', () => {
  const sites = ['primary', 'dr'] as const;
  let folder: string;
  let postgres: Started<typeof startPostgres>;
  let mongo: Started<typeof startMongoReplicaSet>;
  let redis: Started<typeof startRedis>;
  const hosts: Record<string, string> = {};
  const orderServices: Record<string, Program> = {};
  const programs: Program[] = [];
  const journalFile = () => join(folder, 'orders.jsonl');

  const startOrderService = async (site: string) => {
    const program = startProgram(join(built.folder, 'lab/shop/service.js'), [], {
      SHOP_SERVICE: 'order',
      SHOP_SITE: site,
      SHOP_HOST: hosts[site]!,
      SHOP_PORT: '8104',
      SHOP_PG_URL: postgres.url,
      SHOP_MONGO_URL: mongo.url,
      SHOP_REDIS_URL: redis.url,
    });
    programs.push(program);
    orderServices[site] = program;
    await answersWith(200, `http://${hosts[site]}:8104/health`);
  };

  const startSite = async (site: string) => {
    hosts[site] = await freeLoopbackHost(8080);
    const upstreams = Object.fromEntries(
      SERVICE_NAMES.map((name) => [name, name === 'order' ? [`${hosts[site]}:8104`] : []]),
    );
    writeFileSync(join(folder, `${site}.json`), JSON.stringify(upstreams));
    programs.push(
      startProgram(join(built.folder, 'lab/shop/gateway.js'), [], {
        GATEWAY_HOST: hosts[site],
        GATEWAY_PORT: '8080',
        GATEWAY_UPSTREAMS_FILE: join(folder, `${site}.json`),
        GATEWAY_SITE: site,
      }),
    );
    await startOrderService(site);
    await answersWith(503, `http://${hosts[site]}:8080/health`);
  };

  const acknowledgedAt = async (site: string) =>
    summarise(await readJournal(journalFile())).acknowledgedBySite[site] ?? 0;
  const moreOrders = async (site: string, more: number) => {
    const wanted = (await acknowledgedAt(site)) + more;
    await waitUntil(`${more} more orders at ${site}`, async () => (await acknowledgedAt(site)) >= wanted);
  };

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'drctl-load-'));
    [postgres, mongo, redis] = await Promise.all([startPostgres(), startMongoReplicaSet(), startRedis()]);
    await createSchema(postgres.url, mongo.url, redis.url, { products: 1, users: 1 });
    await Promise.all(sites.map(startSite));
  }, 120_000);

  afterAll(async () => {
    await Promise.all(programs.map((program) => program.end('SIGKILL')));
    await Promise.all([postgres?.stop(), mongo?.stop(), redis?.stop()]);
    rmSync(folder, { recursive: true, force: true });
  });

  const startLoad = (seed = 'load-test', file = journalFile(), ...more: string[]) => {
    const servers = dnsHosts.map((dnsHost) => `${dnsHost}:${DNS_PORT}`).join(',');
    const options = ['--rate', '40', '--dns', servers, '--name', NAME, '--port', '8080', '--seed', seed, ...more];
    const program = startProgram(join(built.folder, 'lab/load/main.js'), [...options, '--journal', file], {});
    programs.push(program);
    return program;
  };

  test('follows the public name through an outage and a move, and its journal agrees with both stores', async () => {
    await change('UPSERT', NAME, 'A', 60, hosts['primary']!);
    const first = startLoad();
    await waitUntil('orders at the primary site', async () => (await acknowledgedAt('primary')) > 0);
    await moreOrders('primary', 40);
    // An outage with orders under way: the service is killed, and later starts again.
    await orderServices['primary']!.end('SIGKILL');
    const failed = async () => summarise(await readJournal(journalFile())).notPlaced >= 20;
    await waitUntil('twenty orders failing', failed);
    await startOrderService('primary');
    await moreOrders('primary', 20);
    // The generator itself is killed in the middle and continues its journal.
    await first.end('SIGKILL');
    const second = startLoad();
    await moreOrders('primary', 20);
    await change('UPSERT', NAME, 'A', 60, hosts['dr']!);
    await waitUntil('orders at the DR site', async () => (await acknowledgedAt('dr')) > 40);
    const { status } = await second.end('SIGTERM');
    expect(status).toBe(0);

    const journal = await readJournal(journalFile());
    const now = Date.now() + 1;
    const [rows, events] = await Promise.all([
      readOrdersFromPostgres(postgres.url),
      readOrderEventsFromMongo(mongo.url),
    ]);
    const { mustBePresent, mustBeAbsent, inFlight } = classify(journal, now);
    expect(mustBePresent.length).toBeGreaterThan(120);
    expect(mustBeAbsent.length).toBeGreaterThanOrEqual(20);
    for (const store of [rows, events]) {
      const { confirmed, inFlightPresent, inFlightAbsent, ...verdict } = compareOrders(store, journal, now);
      expect(verdict).toEqual({ ok: true, missing: [], unexpected: [], altered: [] });
      expect(confirmed).toBe(mustBePresent.length);
      expect(inFlightPresent.length + inFlightAbsent.length).toBe(inFlight.length);
    }
  });

  test('with --retry-ambiguous an order in doubt is sent again under its id until its fate is known', async () => {
    const file = join(folder, 'retried.jsonl');
    const load = startLoad('retry-test', file, '--retry-ambiguous');
    const attempts = async (outcome: string) =>
      [...(await readJournal(file)).orders.values()].filter((order) => order.attempts[0]?.outcome === outcome);
    await waitUntil('orders being placed', async () => (await attempts('acknowledged')).length > 10);
    // PostgreSQL and MongoDB have the order by then: only the acknowledgement is held up.
    await redis.server.kill('SIGSTOP');
    await waitUntil('orders in doubt', async () => (await attempts('ambiguous')).length > 5);
    await redis.server.kill('SIGCONT');
    const doubtful = async () => (await attempts('ambiguous')).filter((order) => !order.acknowledged);
    await waitUntil('every doubt being settled', async () => (await doubtful()).length === 0);
    expect((await load.end('SIGTERM')).status).toBe(0);
    const journal = await readJournal(file);
    const retried = [...journal.orders.values()].filter(({ attempts: tries }) => tries.length > 1);
    expect(retried.length).toBeGreaterThan(5);
    expect(new Set(retried.map((order) => order.acknowledged?.status))).toEqual(new Set([200]));
    for (const rows of [await readOrdersFromPostgres(postgres.url), await readOrderEventsFromMongo(mongo.url)]) {
      const isForeign = ({ customer }: { customer: string }) => !customer.startsWith('customer-retry-test-');
      expect(compareOrders(rows, journal, Date.now() + 1, { isForeign }).ok).toBe(true);
      expect(compareOrders(rows, journal, Date.now() + 1).ok).toBe(false);
    }
  });

  test('the comparison sees damage done to the real stores', async () => {
    const journal = await readJournal(journalFile());
    const [deleted, altered, itemless] = classify(journal, Date.now()).mustBePresent.map(({ content }) => content.id);
    await inPostgres(postgres.url, async (client) => {
      await client.query('DELETE FROM orders WHERE id = $1', [deleted]);
      await client.query('UPDATE orders SET amount_cents = amount_cents + 1 WHERE id = $1', [altered]);
      await client.query('DELETE FROM order_items WHERE order_id = $1', [itemless]);
    });
    const isForeign = ({ customer }: { customer: string }) => !customer.startsWith('customer-load-test-');
    const result = compareOrders(await readOrdersFromPostgres(postgres.url), journal, Date.now(), { isForeign });
    expect(result.ok).toBe(false);
    expect(result.missing.map(({ content }) => content.id)).toEqual([deleted]);
    expect(result.altered.map(({ id, field }) => `${id} ${field}`).toSorted()).toEqual(
      [`${altered} amountCents`, `${itemless} items`].toSorted(),
    );
    // At a target in the middle, what came later must not be there: the live store is not a restore to that time.
    const middle = [...journal.orders.values()][Math.floor(journal.orders.size / 2)]!.attempts[0]!.sentAtMs;
    const earlier = compareOrders(await readOrdersFromPostgres(postgres.url), journal, middle, { isForeign });
    expect(earlier.unexpected.length).toBeGreaterThan(20);
    expect(new Set(earlier.unexpected.map(({ reason }) => reason))).toEqual(new Set(['sent-after-target']));
  });

  test('a wrong option is named', async () => {
    const program = startProgram(join(built.folder, 'lab/load/main.js'), ['--rate', 'fast', '--journal', 'x'], {});
    await waitUntil('the generator ending', async () => program.child.exitCode !== null);
    expect(program.child.exitCode).toBe(1);
    expect(program.output()).toContain('--rate is "fast"; it must be a number above 0');
  });
});
