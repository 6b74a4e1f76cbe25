import { randomUUID } from 'node:crypto';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { Client } from 'pg';
import { readOrderEventsFromMongo, readOrdersFromPostgres } from '../../lab/load/journal';
import { orderOf } from '../../lab/load/order-content';
import { freeLoopbackHost } from '../../lab/servers/loopback';
import { createSchema, seededLogin } from '../../lab/shop/schema';
import { seedBulk } from '../../lab/shop/seed-bulk';
import { SERVICE_NAMES, type ServiceName } from '../../lab/shop/service-names';
import { answersWith, buildPrograms, startProgram, type Program } from '../support/lab-programs';
import { startMongoReplicaSet, startPostgres, startRedis, waitUntil } from '../support/servers';

type Started<T extends (...args: never[]) => Promise<unknown>> = Awaited<ReturnType<T>>;

let postgres: Started<typeof startPostgres>;
let mongo: Started<typeof startMongoReplicaSet>;
let redis: Started<typeof startRedis>;
let built: ReturnType<typeof buildPrograms>;
let folder: string;
let host: string;
let gatewayUrl: string;
let gateway: Program;
const services = new Map<ServiceName, Program>();
const startTimesMs: Partial<Record<ServiceName, number>> = {};

const portOf = (service: ServiceName) => 8101 + SERVICE_NAMES.indexOf(service);
const serviceUrl = (service: ServiceName) => `http://${host}:${portOf(service)}`;
const allUpstreams = () => Object.fromEntries(SERVICE_NAMES.map((name) => [name, [`${host}:${portOf(name)}`]]));
const upstreamsFile = () => join(folder, 'upstreams.json');

function writeUpstreams(upstreams: object): void {
  writeFileSync(`${upstreamsFile()}.new`, JSON.stringify(upstreams));
  renameSync(`${upstreamsFile()}.new`, upstreamsFile());
}

async function startService(service: ServiceName): Promise<void> {
  const startedAtMs = performance.now();
  const program = startProgram(join(built.folder, 'lab/shop/service.js'), [], {
    SHOP_SERVICE: service,
    SHOP_SITE: 'primary',
    SHOP_HOST: host,
    SHOP_PORT: String(portOf(service)),
    SHOP_PG_URL: postgres.url,
    SHOP_MONGO_URL_FILE: join(folder, 'mongo.url'),
    SHOP_REDIS_URL: redis.url,
  });
  services.set(service, program);
  await answersWith(200, `${serviceUrl(service)}/health`);
  startTimesMs[service] = Math.round(performance.now() - startedAtMs);
}

async function call(method: string, path: string, body?: unknown, base = gatewayUrl) {
  const response = await fetch(`${base}${path}`, {
    method,
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: { 'content-type': 'application/json', connection: 'close' },
  });
  return { status: response.status, site: response.headers.get('x-site'), body: (await response.json()) as never };
}

/** Runs the statements one by one on a connection of their own; returns the rows of the last. */
async function inPostgres(...statements: string[]): Promise<Array<Record<string, unknown>>> {
  const client = new Client({ connectionString: postgres.url });
  await client.connect();
  try {
    let rows: Array<Record<string, unknown>> = [];
    for (const statement of statements) rows = (await client.query<Record<string, unknown>>(statement)).rows;
    return rows;
  } finally {
    await client.end();
  }
}

beforeAll(async () => {
  built = buildPrograms();
  folder = mkdtempSync(join(tmpdir(), 'drctl-shop-'));
  [postgres, mongo, redis, host] = await Promise.all([
    startPostgres(),
    startMongoReplicaSet(),
    startRedis(),
    freeLoopbackHost(8080),
  ]);
  writeFileSync(join(folder, 'mongo.url'), `${mongo.url}\n`, { mode: 0o600 });
  // Twice at once and once again: safe to repeat is part of what it promises.
  const sizes = { products: 40, users: 5 };
  const create = () => createSchema(postgres.url, mongo.url, redis.url, sizes);
  await Promise.all([create(), create()]);
  await create();
  await Promise.all(SERVICE_NAMES.map(startService));
  writeUpstreams(allUpstreams());
  gateway = startProgram(join(built.folder, 'lab/shop/gateway.js'), [], {
    GATEWAY_HOST: host,
    GATEWAY_PORT: '8080',
    GATEWAY_UPSTREAMS_FILE: upstreamsFile(),
  });
  gatewayUrl = `http://${host}:8080`;
  await answersWith(200, `${gatewayUrl}/health`);
}, 120_000);

afterAll(async () => {
  await Promise.all([...services.values(), gateway].filter(Boolean).map((program) => program.end('SIGKILL')));
  await Promise.all([postgres?.stop(), mongo?.stop(), redis?.stop()]);
  built?.remove();
  rmSync(folder, { recursive: true, force: true });
});

describe('the services', () => {
  test('each is healthy with the stores that it uses', async () => {
    const { body } = await call('GET', '/health');
    expect(body).toMatchObject({ healthy: true, sites: ['primary'] });
    for (const service of SERVICE_NAMES) {
      expect((await call('GET', '/health', undefined, serviceUrl(service))).body).toMatchObject({
        service,
        site: 'primary',
      });
    }
    expect((await call('GET', '/health', undefined, serviceUrl('order'))).body).toMatchObject({
      stores: { postgresql: 'ok', mongodb: 'ok', redis: 'ok' },
    });
  });

  test('auth logs a seeded user in and refuses a wrong password', async () => {
    expect(await call('GET', '/v2/auth/login')).toMatchObject({ status: 200, site: 'primary' });
    const { email, password } = seededLogin(3);
    const login = await call('POST', '/v2/auth/login', { email, password });
    expect(login).toMatchObject({ status: 200, body: { userId: 3 } });
    const client = new Redis(redis.url);
    expect(await client.get(`shop:session:${(login.body as { session: string }).session}`)).toBe('3');
    client.disconnect();
    expect(await call('POST', '/v2/auth/login', { email, password: 'wrong' })).toMatchObject({ status: 401 });
    expect(await call('POST', '/v2/auth/login', { email: 'nobody', password })).toMatchObject({ status: 401 });
  });

  test('user reads and changes a profile', async () => {
    const change = { fullName: 'Ada Lovelace', city: 'Khiva' };
    expect(await call('PUT', '/v2/users/2', change)).toMatchObject({ status: 200, body: change });
    expect(await call('GET', '/v2/users/2')).toMatchObject({ status: 200, body: { id: 2, ...change } });
    expect(await call('GET', '/v2/users/999')).toMatchObject({ status: 404 });
    expect(await call('GET', '/v2/users/x')).toMatchObject({ status: 400 });
  });

  test('product lists the catalogue and takes a review once', async () => {
    const list = await call('GET', '/v2/products?limit=40');
    expect((list.body as { products: unknown[] }).products).toHaveLength(40);
    const review = { id: randomUUID(), rating: 4, text: 'as described' };
    expect(await call('POST', '/v2/products/SKU-000001/reviews', review)).toMatchObject({ status: 201 });
    expect(await call('POST', '/v2/products/SKU-000001/reviews', review)).toMatchObject({ status: 200 });
    expect((await call('GET', '/v2/products/SKU-000001/reviews')).body).toMatchObject({ reviews: [review] });
    expect(await call('POST', '/v2/products/SKU-999999/reviews', review)).toMatchObject({ status: 404 });
  });

  test('an order is placed once, by its id, in every store', async () => {
    const order = orderOf('shop-test', 1);
    const first = await call('POST', '/v2/orders', order);
    expect(first).toMatchObject({ status: 201, site: 'primary', body: { id: order.id, site: 'primary' } });
    const { committedAt } = first.body as { committedAt: string };
    expect(committedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(Math.abs(Date.parse(committedAt) - Date.now())).toBeLessThan(5_000);
    expect(await call('POST', '/v2/orders', order)).toMatchObject({ status: 200, body: { id: order.id } });
    expect(await call('POST', '/v2/orders', { ...order, amountCents: 1 })).toMatchObject({ status: 409 });
    expect(await call('GET', `/v2/orders/${order.id}`)).toMatchObject({ status: 200, body: order });
    expect(await readOrdersFromPostgres(postgres.url)).toEqual([order]);
    expect(await readOrderEventsFromMongo(mongo.url)).toEqual([order]);
    const client = new Redis(redis.url);
    expect(await client.zrange('shop:orders:recent', '0', '-1')).toEqual([order.id]);
    expect(await client.get('shop:orders:placed')).toBe('1');
    client.disconnect();
  });

  test('an order of which MongoDB never heard is completed by repeating it', async () => {
    const order = orderOf('shop-test', 2);
    await inPostgres(`INSERT INTO orders (id, customer, amount_cents, site)
      VALUES ('${order.id}', '${order.customer}', ${order.amountCents}, 'primary')`);
    for (const [line, item] of order.items.entries()) {
      await inPostgres(`INSERT INTO order_items VALUES
        ('${order.id}', ${line + 1}, '${item.sku}', ${item.quantity}, ${item.priceCents})`);
    }
    expect(await call('POST', '/v2/orders', order)).toMatchObject({ status: 200 });
    expect(await readOrderEventsFromMongo(mongo.url)).toContainEqual(order);
  });

  test('many at once: the same order from eight clients is one order', async () => {
    const order = orderOf('shop-test', 3);
    const replies = await Promise.all(Array.from({ length: 8 }, () => call('POST', '/v2/orders', order)));
    expect(replies.filter(({ status }) => status === 201)).toHaveLength(1);
    expect(replies.filter(({ status }) => status === 200)).toHaveLength(7);
  });

  test.each([
    ['no UUID', { id: 'x' }],
    ['no items', { items: [] }],
    ['a fraction of a cent', { amountCents: 1.5 }],
    ['more than an integer holds', { amountCents: 2 ** 31 }],
    ['a NUL', { customer: 'a\0b' }],
  ])('an order with %s is refused with 400', async (_, change) => {
    const before = (await readOrdersFromPostgres(postgres.url)).length;
    expect(await call('POST', '/v2/orders', { ...orderOf('shop-test', 4), ...change })).toMatchObject({ status: 400 });
    expect(await readOrdersFromPostgres(postgres.url)).toHaveLength(before);
  });

  test('a body that is too large or no JSON is refused, and says so', async () => {
    const large = { ...orderOf('shop-test', 4), customer: 'x'.repeat(2 ** 20) };
    expect(await call('POST', '/v2/orders', large)).toMatchObject({
      status: 413,
      body: { error: { code: 'body-too-large' } },
    });
    const response = await fetch(`${gatewayUrl}/v2/orders`, { method: 'POST', body: '{"id":' });
    expect(response.status).toBe(400);
    expect(await call('DELETE', '/v2/orders')).toMatchObject({ status: 405 });
  });

  test('payment is taken once; a cart is kept for a day and emptied', async () => {
    const payment = { id: randomUUID(), orderId: randomUUID(), amountCents: 4_200, method: 'card' };
    expect(await call('POST', '/v2/payments', payment)).toMatchObject({ status: 201 });
    expect(await call('POST', '/v2/payments', payment)).toMatchObject({ status: 200 });
    expect(await call('POST', '/v2/payments', { ...payment, amountCents: 1 })).toMatchObject({ status: 409 });
    expect(await call('GET', `/v2/payments/${payment.id}`)).toMatchObject({ body: payment });
    const items = [{ sku: 'SKU-000002', quantity: 3 }];
    expect(await call('PUT', '/v2/cart/session-1', items[0])).toMatchObject({ status: 200, body: { items } });
    const client = new Redis(redis.url);
    expect(await client.ttl('shop:cart:session-1')).toBeGreaterThan(86_000);
    client.disconnect();
    expect((await call('DELETE', '/v2/cart/session-1')).body).toMatchObject({ items: [] });
  });

  test('bulk data is what was asked for, and the same when it is repeated', async () => {
    const bulk = { sizeBytes: 2 * 1024 * 1024, seed: 7 };
    const digest = `SELECT count(*) AS rows, md5(string_agg(digits || words, '' ORDER BY id)) AS digest FROM bulk_rows`;
    const seedAndRead = async () => {
      await seedBulk(postgres.url, mongo.url, bulk);
      return (await inPostgres(digest))[0];
    };
    const first = await seedAndRead();
    expect(first).toMatchObject({ rows: '2048' });
    expect(await seedAndRead()).toEqual(first);
  });
});

describe('the gateway', () => {
  afterEach(async () => {
    writeUpstreams(allUpstreams());
    await answersWith(200, `${gatewayUrl}/health`);
  });

  test('follows the upstreams file; a service without replicas is 503 with the reason', async () => {
    writeUpstreams({ ...allUpstreams(), order: [] });
    expect(await answersWith(503, `${gatewayUrl}/health`)).toMatchObject({
      healthy: false,
      services: { order: { healthy: false, reason: 'no replica of order runs at this site' }, cart: { healthy: true } },
    });
    expect(await call('POST', '/v2/orders', orderOf('shop-test', 5))).toMatchObject({
      status: 503,
      body: { error: { code: 'not-sent', service: 'order' } },
    });
    expect(await call('GET', '/v2/products')).toMatchObject({ status: 200 });
    rmSync(upstreamsFile());
    await answersWith(503, `${gatewayUrl}/v2/products`);
    expect(await call('GET', '/elsewhere')).toMatchObject({ status: 404 });
  });

  test('an upstreams file that is not understood is reported, and the last good one stays in force', async () => {
    writeFileSync(upstreamsFile(), '{"order": [');
    await waitUntil('the gateway saying so', async () => gateway.output().includes('upstreams not understood'));
    expect(await call('GET', '/v2/products')).toMatchObject({ status: 200 });
  });

  test('passes over a replica that takes no connection', async () => {
    const both = [`${host}:1`, `${host}:${portOf('product')}`];
    writeUpstreams({ ...allUpstreams(), product: both });
    await answersWith(503, `${gatewayUrl}/health`);
    for (let n = 0; n < 4; n++) expect(await call('GET', '/v2/products')).toMatchObject({ status: 200 });
  });

  test('never sends an order twice when the replica breaks off', async () => {
    // A service that dies between receiving and answering cannot be timed with the real one.
    const received: string[] = [];
    const dying = createServer((request: IncomingMessage) => {
      request.resume().once('end', () => {
        received.push(`${request.method} ${request.url}`);
        request.socket.destroy();
      });
    });
    await new Promise<void>((resolve) => dying.listen(0, host, resolve));
    const address = `${host}:${(dying.address() as AddressInfo).port}`;
    writeUpstreams({ ...allUpstreams(), order: [address, address] });
    await answersWith(503, `${gatewayUrl}/health`);
    received.length = 0;
    expect(await call('POST', '/v2/orders', orderOf('shop-test', 6))).toMatchObject({
      status: 503,
      body: { error: { code: 'no-reply', service: 'order' } },
    });
    expect(received).toEqual(['POST /v2/orders']);
    dying.close();
  });
});

describe('faults', () => {
  const orderHealth = (status: number) => answersWith(status, `${serviceUrl('order')}/health`, 20_000);

  test('a stopped Redis is 503 within 3 s, naming it; repeating the order then completes it', async () => {
    const order = orderOf('shop-test', 7);
    await redis.server.kill('SIGSTOP');
    const sentAtMs = performance.now();
    const refused = await call('POST', '/v2/orders', order);
    expect(performance.now() - sentAtMs).toBeLessThan(3_000);
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'store-unavailable', store: 'redis' } } });
    expect((await orderHealth(503))['stores']).toMatchObject({ postgresql: 'ok', mongodb: 'ok' });
    await redis.server.kill('SIGCONT');
    await orderHealth(200);
    expect(await call('POST', '/v2/orders', order)).toMatchObject({ status: 200 });
  });

  test('a killed PostgreSQL is 503, and the services come back by themselves', async () => {
    await postgres.server.kill('SIGKILL');
    const sentAtMs = performance.now();
    const refused = await call('POST', '/v2/orders', orderOf('shop-test', 8));
    expect(performance.now() - sentAtMs).toBeLessThan(3_000);
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'store-unavailable', store: 'postgresql' } } });
    expect(await call('GET', '/v2/products')).toMatchObject({ status: 200 });
    await postgres.server.start();
    await answersWith(200, `${gatewayUrl}/health`);
    expect(await call('POST', '/v2/orders', orderOf('shop-test', 8))).toMatchObject({ status: 201 });
  });

  test('a stopped MongoDB is 503 within 3 s, and comes back', async () => {
    const [member] = mongo.members;
    await member!.server.kill('SIGSTOP');
    const sentAtMs = performance.now();
    const refused = await call('POST', '/v2/orders', orderOf('shop-test', 9));
    expect(performance.now() - sentAtMs).toBeLessThan(3_000);
    await member!.server.kill('SIGCONT');
    expect(refused).toMatchObject({ status: 503, body: { error: { code: 'store-unavailable', store: 'mongodb' } } });
    await answersWith(200, `${gatewayUrl}/health`, 20_000);
    expect(await call('POST', '/v2/orders', orderOf('shop-test', 9))).toMatchObject({ status: 200 });
  });

  test('a PostgreSQL that takes no writes is unhealthy for who writes, healthy for who reads', async () => {
    await inPostgres('ALTER SYSTEM SET default_transaction_read_only = on', 'SELECT pg_reload_conf()');
    expect((await orderHealth(503))['stores']).toMatchObject({ postgresql: expect.stringContaining('read-only') });
    expect(await call('GET', '/health', undefined, serviceUrl('auth'))).toMatchObject({ status: 200 });
    await inPostgres('SET default_transaction_read_only = off', 'ALTER SYSTEM RESET default_transaction_read_only');
    await inPostgres('SELECT pg_reload_conf()');
    await orderHealth(200);
  });

  test('SIGTERM finishes what is in flight and ends within a second', async () => {
    const orders = Array.from({ length: 10 }, (_, n) => orderOf('shop-test', 100 + n));
    const lock = new Client({ connectionString: postgres.url });
    await lock.connect();
    await lock.query('BEGIN');
    await lock.query('LOCK TABLE orders');
    const replies = Promise.all(orders.map((order) => call('POST', '/v2/orders', order)));
    const waiting = `SELECT count(*)::int AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT%'`;
    await waitUntil('ten orders waiting', async () => (await inPostgres(waiting))[0]?.['n'] === orders.length);
    const ended = services.get('order')!.end('SIGTERM');
    await waitUntil('the service taking no connection', () =>
      fetch(serviceUrl('order')).then(
        () => false,
        () => true,
      ),
    );
    await lock.query('ROLLBACK');
    await lock.end();
    expect((await replies).map(({ status }) => status)).toEqual(orders.map(() => 201));
    const { status, tookMs } = await ended;
    expect(status).toBe(0);
    expect(tookMs).toBeLessThan(1_000);
    expect(await readOrdersFromPostgres(postgres.url)).toEqual(expect.arrayContaining(orders));
    await startService('order');
  });

  test('a service killed with SIGKILL is felt only until it runs again', async () => {
    await services.get('order')!.end('SIGKILL');
    expect(await call('POST', '/v2/orders', orderOf('shop-test', 10))).toMatchObject({
      status: 503,
      body: { error: { code: 'not-sent' } },
    });
    await startService('order');
    expect(await call('POST', '/v2/orders', orderOf('shop-test', 10))).toMatchObject({ status: 201 });
  });

  test('no password is in a log or on a command line', () => {
    const passwords = [postgres.password, mongo.password, redis.password];
    for (const program of [...services.values(), gateway]) {
      const commandLine = readFileSync(`/proc/${program.child.pid}/cmdline`, 'utf8');
      for (const password of passwords) {
        expect(program.output()).not.toContain(password);
        expect(commandLine).not.toContain(password);
      }
    }
  });

  test('a service that cannot start says which setting is wrong', async () => {
    const program = startProgram(join(built.folder, 'lab/shop/service.js'), [], { SHOP_SERVICE: 'orders' });
    await waitUntil('the service ending', async () => program.child.exitCode !== null);
    expect(program.child.exitCode).toBe(1);
    expect(program.output()).toContain('SHOP_SERVICE is "orders"; it must be one of auth, user');
  });
});
