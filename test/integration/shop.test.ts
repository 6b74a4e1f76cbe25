import { randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { readOrderEventsFromMongo, readOrdersFromPostgres } from '../../lab/load/journal';
import { orderOf } from '../../lab/load/order-content';
import { seededLogin } from '../../lab/shop/schema';
import { seedBulk } from '../../lab/shop/seed-bulk';
import { SERVICE_NAMES } from '../../lab/shop/service-names';
import { answersWith, startProgram, type Program } from '../support/lab-programs';
import { waitUntil } from '../support/servers';
import { startShopSite, type ShopSite } from '../support/shop-site';

let shop: ShopSite;
beforeAll(async () => {
  shop = await startShopSite();
}, 120_000);
afterAll(() => shop?.stop());

describe('the services', () => {
  test('each is healthy with the stores that it uses', async () => {
    const { body } = await shop.call('GET', '/health');
    expect(body).toMatchObject({ healthy: true, sites: ['primary'] });
    for (const service of SERVICE_NAMES) {
      expect((await shop.call('GET', '/health', undefined, shop.serviceUrl(service))).body).toMatchObject({
        service,
        site: 'primary',
      });
    }
    expect((await shop.call('GET', '/health', undefined, shop.serviceUrl('order'))).body).toMatchObject({
      stores: { postgresql: 'ok', mongodb: 'ok', redis: 'ok' },
    });
  });

  test('auth logs a seeded user in and refuses a wrong password', async () => {
    expect(await shop.call('GET', '/v2/auth/login')).toMatchObject({ status: 200, site: 'primary' });
    const { email, password } = seededLogin(3);
    const login = await shop.call('POST', '/v2/auth/login', { email, password });
    expect(login).toMatchObject({ status: 200, body: { userId: 3 } });
    const client = new Redis(shop.redis.url);
    expect(await client.get(`shop:session:${(login.body as { session: string }).session}`)).toBe('3');
    client.disconnect();
    expect(await shop.call('POST', '/v2/auth/login', { email, password: 'wrong' })).toMatchObject({ status: 401 });
    expect(await shop.call('POST', '/v2/auth/login', { email: 'nobody', password })).toMatchObject({ status: 401 });
  });

  test('user reads and changes a profile', async () => {
    const change = { fullName: 'Ada Lovelace', city: 'Khiva' };
    expect(await shop.call('PUT', '/v2/users/2', change)).toMatchObject({ status: 200, body: change });
    expect(await shop.call('GET', '/v2/users/2')).toMatchObject({ status: 200, body: { id: 2, ...change } });
    expect(await shop.call('GET', '/v2/users/999')).toMatchObject({ status: 404 });
    expect(await shop.call('GET', '/v2/users/x')).toMatchObject({ status: 400 });
  });

  test('product lists the catalogue and takes a review once', async () => {
    const list = await shop.call('GET', '/v2/products?limit=40');
    expect((list.body as { products: unknown[] }).products).toHaveLength(40);
    const review = { id: randomUUID(), rating: 4, text: 'as described' };
    expect(await shop.call('POST', '/v2/products/SKU-000001/reviews', review)).toMatchObject({ status: 201 });
    expect(await shop.call('POST', '/v2/products/SKU-000001/reviews', review)).toMatchObject({ status: 200 });
    expect((await shop.call('GET', '/v2/products/SKU-000001/reviews')).body).toMatchObject({ reviews: [review] });
    expect(await shop.call('POST', '/v2/products/SKU-999999/reviews', review)).toMatchObject({ status: 404 });
  });

  test('an order is placed once, by its id, in every store', async () => {
    const order = orderOf('shop-test', 1);
    const first = await shop.call('POST', '/v2/orders', order);
    expect(first).toMatchObject({ status: 201, site: 'primary', body: { id: order.id, site: 'primary' } });
    const { committedAt } = first.body as { committedAt: string };
    expect(committedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
    expect(Math.abs(Date.parse(committedAt) - Date.now())).toBeLessThan(5_000);
    expect(await shop.call('POST', '/v2/orders', order)).toMatchObject({ status: 200, body: { id: order.id } });
    expect(await shop.call('POST', '/v2/orders', { ...order, amountCents: 1 })).toMatchObject({ status: 409 });
    expect(await shop.call('GET', `/v2/orders/${order.id}`)).toMatchObject({ status: 200, body: order });
    expect(await readOrdersFromPostgres(shop.postgres.url)).toEqual([order]);
    expect(await readOrderEventsFromMongo(shop.mongo.url)).toEqual([order]);
    const client = new Redis(shop.redis.url);
    expect(await client.zrange('shop:orders:recent', '0', '-1')).toEqual([order.id]);
    expect(await client.get('shop:orders:placed')).toBe('1');
    client.disconnect();
  });

  test('an order of which MongoDB never heard is completed by repeating it', async () => {
    const order = orderOf('shop-test', 2);
    await shop.inPostgres(`INSERT INTO orders (id, customer, amount_cents, site)
      VALUES ('${order.id}', '${order.customer}', ${order.amountCents}, 'primary')`);
    for (const [line, item] of order.items.entries()) {
      await shop.inPostgres(`INSERT INTO order_items VALUES
        ('${order.id}', ${line + 1}, '${item.sku}', ${item.quantity}, ${item.priceCents})`);
    }
    expect(await shop.call('POST', '/v2/orders', order)).toMatchObject({ status: 200 });
    expect(await readOrderEventsFromMongo(shop.mongo.url)).toContainEqual(order);
  });

  test('many at once: the same order from eight clients is one order', async () => {
    const order = orderOf('shop-test', 3);
    const replies = await Promise.all(Array.from({ length: 8 }, () => shop.call('POST', '/v2/orders', order)));
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
    const before = (await readOrdersFromPostgres(shop.postgres.url)).length;
    expect(await shop.call('POST', '/v2/orders', { ...orderOf('shop-test', 4), ...change })).toMatchObject({
      status: 400,
    });
    expect(await readOrdersFromPostgres(shop.postgres.url)).toHaveLength(before);
  });

  test('a body that is too large or no JSON is refused, and says so', async () => {
    const large = { ...orderOf('shop-test', 4), customer: 'x'.repeat(2 ** 20) };
    expect(await shop.call('POST', '/v2/orders', large)).toMatchObject({
      status: 413,
      body: { error: { code: 'body-too-large' } },
    });
    const response = await fetch(`${shop.gatewayUrl}/v2/orders`, { method: 'POST', body: '{"id":' });
    expect(response.status).toBe(400);
    expect(await shop.call('DELETE', '/v2/orders')).toMatchObject({ status: 405 });
  });

  test('payment is taken once; a cart is kept for a day and emptied', async () => {
    const payment = { id: randomUUID(), orderId: randomUUID(), amountCents: 4_200, method: 'card' };
    expect(await shop.call('POST', '/v2/payments', payment)).toMatchObject({ status: 201 });
    expect(await shop.call('POST', '/v2/payments', payment)).toMatchObject({ status: 200 });
    expect(await shop.call('POST', '/v2/payments', { ...payment, amountCents: 1 })).toMatchObject({ status: 409 });
    expect(await shop.call('GET', `/v2/payments/${payment.id}`)).toMatchObject({ body: payment });
    const items = [{ sku: 'SKU-000002', quantity: 3 }];
    expect(await shop.call('PUT', '/v2/cart/session-1', items[0])).toMatchObject({ status: 200, body: { items } });
    const client = new Redis(shop.redis.url);
    expect(await client.ttl('shop:cart:session-1')).toBeGreaterThan(86_000);
    client.disconnect();
    expect((await shop.call('DELETE', '/v2/cart/session-1')).body).toMatchObject({ items: [] });
  });

  test('bulk data is what was asked for, and the same when it is repeated', async () => {
    const bulk = { sizeBytes: 2 * 1024 * 1024, seed: 7 };
    const digest = `SELECT count(*) AS rows, md5(string_agg(digits || words, '' ORDER BY id)) AS digest FROM bulk_rows`;
    const seedAndRead = async () => {
      await seedBulk(shop.postgres.url, shop.mongo.url, bulk);
      return (await shop.inPostgres(digest))[0];
    };
    const first = await seedAndRead();
    expect(first).toMatchObject({ rows: '2048' });
    expect(await seedAndRead()).toEqual(first);
  });

  test('the seed program does the same from the command line, and names a wrong option', async () => {
    const seed = (...argv: string[]) => startProgram(join(shop.programs, 'lab/shop/seed.js'), argv, shop.storesEnv);
    const ended = async (program: Program) => {
      await waitUntil('the seed program ending', async () => program.child.exitCode !== null);
      return program;
    };
    const done = await ended(seed('--products', '3', '--users', '2', '--size', '1'));
    expect(done.output()).toContain('seeded 3 products, 2 users and 1 MiB of bulk data a store');
    expect(done.child.exitCode).toBe(0);
    expect(await shop.inPostgres('SELECT count(*)::int AS rows FROM bulk_rows')).toEqual([{ rows: 1024 }]);
    const wrong = await ended(seed('--size', 'big'));
    expect(wrong.child.exitCode).toBe(1);
    expect(wrong.output()).toContain('--size is "big"; it must be a whole number');
  });
});

describe('the gateway', () => {
  afterEach(async () => {
    shop.writeUpstreams(shop.allUpstreams());
    await answersWith(200, `${shop.gatewayUrl}/health`);
  });

  test('follows the upstreams file; a service without replicas is 503 with the reason', async () => {
    shop.writeUpstreams({ ...shop.allUpstreams(), order: [] });
    expect(await answersWith(503, `${shop.gatewayUrl}/health`)).toMatchObject({
      healthy: false,
      services: { order: { healthy: false, reason: 'no replica of order runs at this site' }, cart: { healthy: true } },
    });
    expect(await shop.call('POST', '/v2/orders', orderOf('shop-test', 5))).toMatchObject({
      status: 503,
      body: { error: { code: 'not-sent', service: 'order' } },
    });
    expect(await shop.call('GET', '/v2/products')).toMatchObject({ status: 200 });
    rmSync(shop.upstreamsFile);
    await answersWith(503, `${shop.gatewayUrl}/v2/products`);
    expect(await shop.call('GET', '/elsewhere')).toMatchObject({ status: 404 });
  });

  test('an upstreams file that is not understood is reported, and the last good one stays in force', async () => {
    writeFileSync(shop.upstreamsFile, '{"order": [');
    await waitUntil('the gateway saying so', async () => shop.gateway.output().includes('upstreams not understood'));
    expect(await shop.call('GET', '/v2/products')).toMatchObject({ status: 200 });
  });

  test('passes over a replica that takes no connection', async () => {
    const both = [`${shop.host}:1`, `${shop.host}:${shop.portOf('product')}`];
    shop.writeUpstreams({ ...shop.allUpstreams(), product: both });
    await answersWith(503, `${shop.gatewayUrl}/health`);
    for (let n = 0; n < 4; n++) expect(await shop.call('GET', '/v2/products')).toMatchObject({ status: 200 });
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
    await new Promise<void>((resolve) => dying.listen(0, shop.host, resolve));
    try {
      const address = `${shop.host}:${(dying.address() as AddressInfo).port}`;
      shop.writeUpstreams({ ...shop.allUpstreams(), order: [address, address] });
      await answersWith(503, `${shop.gatewayUrl}/health`);
      received.length = 0;
      expect(await shop.call('POST', '/v2/orders', orderOf('shop-test', 6))).toMatchObject({
        status: 503,
        body: { error: { code: 'no-reply', service: 'order' } },
      });
      expect(received).toEqual(['POST /v2/orders']);
    } finally {
      // Left open, it would keep the test run from ending.
      dying.close();
    }
  });
});
